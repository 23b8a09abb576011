"""The report in a browser: every control, silent consoles, and nothing asked for."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest

from keras_erf import report
from keras_erf.wording import with_error
from tests.pages import HOSTILE, flat, hostile, line, nested, volume

playwright = pytest.importorskip(
    "playwright.sync_api",
    reason="browser tests need the extra `browser`: pip install -e '.[browser]'",
)

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

WIDTHS = {"phone": (375, 812), "desktop": (1280, 900)}
PAGES = ("flat", "compared", "line", "volume", "hostile")


@pytest.fixture(scope="module")
def profiles():
    return {
        "flat": flat(),
        "second": flat(1),
        "line": line(),
        "volume": volume(),
        "hostile": hostile(),
        "nested": nested(),
    }


@pytest.fixture(scope="module")
def files(profiles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    made = {
        name: report(
            profiles[name], folder / f"{name}.html", title=HOSTILE if name == "hostile" else None
        )
        for name in ("flat", "line", "volume", "hostile", "nested")
    }
    made["compared"] = report(
        profiles["flat"], folder / "compared.html", compare=profiles["second"]
    )
    return made


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, files):
    """Opens pages; in the end none of them has complained, or asked for anything."""
    heard, opened = [], []

    def go(name: str, size: str = "desktop", **options):
        width, height = WIDTHS[size]
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        url = files[name].as_uri()
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on(
            "dialog", lambda dialog: (heard.append(f"dialog: {dialog.message}"), dialog.dismiss())
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url == url or request.url.startswith("blob:")
                else heard.append(f"request: {request.url}")
            ),
        )
        # Milliseconds. Only what never comes takes so long.
        page.set_default_timeout(120_000)
        page.goto(url)
        opened.append(page)
        return page

    yield go
    for page in opened:
        page.close()
    assert heard == []


def layer(page) -> str:
    return page.text_content("#layer")


def picture(page, number: int = 0) -> str:
    return page.locator("#maps canvas").nth(number).evaluate("one => one.toDataURL()")


def names(found) -> list[str]:
    return [one.layer for one in found.results]


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_every_layer_is_shown_and_nothing_is_wider_than_the_screen(name, size, visit, profiles):
    page, found = visit(name, size), profiles["flat" if name == "compared" else name]
    rows, seen = page.locator("#graph [role=option]"), set()
    assert rows.count() == len(found.results)
    for place, result in enumerate(found.results):
        rows.nth(place).click()
        assert layer(page) == result.layer
        assert rows.nth(place).get_attribute("aria-selected") == "true"
        assert page.input_value("#depth") == str(place)
        assert page.locator("#table tr.chosen th").text_content() == result.layer
        text = page.locator("#figures tr:has-text('Effective size') td").first.text_content()
        assert text == with_error(result.size, None if result.constant else result.size_error)
        seen.add(picture(page))
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1] == WIDTHS[size][0]
    assert len(seen) == len(found.results)
    panels = {"compared": 2, "volume": 3}.get(name, 1)
    assert page.locator("#maps canvas").count() == panels


def test_dark_and_light_differ(visit):
    light, dark = (visit("flat", color_scheme=one) for one in ("light", "dark"))
    assert picture(light) != picture(dark)
    ground = "getComputedStyle(document.body).backgroundColor"
    assert light.evaluate(ground) == "rgb(255, 255, 255)" != dark.evaluate(ground)
    light.emulate_media(color_scheme="dark")
    assert light.evaluate(ground) == dark.evaluate(ground)
    # The page hears of it a moment later.
    light.wait_for_function(
        "wanted => document.querySelector('#maps canvas').toDataURL() === wanted", arg=picture(dark)
    )


def test_the_slider_goes_through_depth(visit, profiles):
    page = visit("flat")
    slider = page.locator("#depth")
    for place, name in enumerate(names(profiles["flat"])):
        slider.fill(str(place))
        assert layer(page) == name
        assert slider.get_attribute("aria-valuetext") == name
    slider.press("ArrowLeft")
    assert layer(page) == names(profiles["flat"])[-2]
    page.click("#previous")
    assert layer(page) == names(profiles["flat"])[-3]
    page.click("#next")
    assert layer(page) == names(profiles["flat"])[-2]


def test_layers_inside_of_others_are_folded(visit, profiles):
    page, order = visit("nested"), names(profiles["nested"])
    outer, inner = ["pair0", "pair1"], ["pair0/part0", "pair0", "pair1/part0", "pair1"]
    assert order == inner

    def shown() -> list[list[str]]:
        graph = page.locator("#graph [role=option] span").all_text_contents()
        table = page.locator("#table tbody tr:visible th").all_text_contents()
        dots = page.locator("#chart .dot.erf title").all_text_contents()
        return [graph, table, [title.partition(":")[0] for title in dots]]

    assert shown() == [outer] * 3
    # The one edge between them, although what is folded lies on its way.
    assert page.locator("#graph path.edge:not(.start)").count() == 1
    assert page.text_content("#place") == "2 / 2"
    page.click("#previous")
    assert layer(page) == "pair0"
    assert page.is_disabled("#previous")
    page.locator("#depth").fill("2")
    assert layer(page) == "pair1"
    page.check("#inside")
    assert shown() == [inner] * 3
    assert page.locator("#graph path.edge:not(.start)").count() == 3
    page.click("#previous")
    assert layer(page) == "pair1/part0"
    page.uncheck("#inside")
    assert shown() == [outer] * 3
    assert layer(page) in outer


def test_play_goes_from_the_first_layer_to_the_last(visit, profiles):
    page, order = visit("flat"), names(profiles["flat"])
    page.evaluate(
        "new MutationObserver(() => (window.seen ??= []).push(layer.textContent))"
        ".observe(layer, { childList: true })"
    )
    page.click("#play")
    assert page.get_attribute("#play", "aria-pressed") == "true"
    page.wait_for_selector("#play[aria-pressed=false]")
    assert page.evaluate("window.seen") == order
    assert page.text_content("#play") == "Play"


def test_keys(visit, profiles):
    page, order = visit("flat"), names(profiles["flat"])
    for key, expected in (
        ("Home", order[0]), ("ArrowLeft", order[0]), ("ArrowRight", order[1]),
        ("End", order[-1]), ("ArrowRight", order[-1]), ("ArrowLeft", order[-2]),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert layer(page) == expected, key
    page.keyboard.press(" ")
    assert page.get_attribute("#play", "aria-pressed") == "true"
    page.keyboard.press(" ")
    assert page.get_attribute("#play", "aria-pressed") == "false"
    chosen = []
    for _ in range(3):
        page.keyboard.press("s")
        chosen.append(page.locator("input[name=scale]:checked").get_attribute("value"))
    assert chosen == ["log", "linear", "sqrt"]
    page.keyboard.press("v")
    assert page.is_checked("input[name=view][value=input]")
    for key in ("?", "/"):
        page.keyboard.press(key)
        assert page.is_visible("#help")
        page.keyboard.press("Escape")
        assert not page.is_visible("#help")
    page.click("#help-button")
    page.click("#help button")
    assert not page.is_visible("#help")
    # In the network the arrows up and down move, and the focus goes along.
    page.keyboard.press("Home")
    page.focus("#graph [aria-selected=true]")
    page.keyboard.press("ArrowDown")
    assert layer(page) == order[1]
    assert page.evaluate("document.activeElement.textContent") == order[1]
    page.keyboard.press("ArrowUp")
    assert layer(page) == order[0]


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(visit):
    page, reached = visit("flat"), []
    for _ in range(60):
        page.keyboard.press("Tab")
        focus = page.evaluate(
            "(() => { const one = document.activeElement, style = getComputedStyle(one);"
            " const name = one.id || one.name || one.dataset.kind || one.textContent;"
            " return one === document.body ? null : [name,"
            " style.outlineStyle, parseFloat(style.outlineWidth)] })()"
        )
        if focus is None or focus[0] in reached:
            break
        assert (focus[1], focus[2] >= 2) == ("solid", True), focus
        reached.append(focus[0])
    wanted = [
        "row4",
        "previous",
        "play",
        "depth",
        "scale",
        "view",
        "region",
        "ring",
        "box",
        "centre",
    ]
    wanted += ["png", "svg", "csv", "json", "help-button"]
    assert [one for one in reached if one in wanted] == wanted
    assert {"Layer", "Depth", "stem", "end"} <= set(reached)


def test_scales_views_and_marks_change_the_picture(visit):
    for name in ("flat", "line", "volume"):
        page = visit(name)
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        seen = [picture(page)]
        for choice in ("linear", "log"):
            page.check(f"input[value={choice}]")
            seen.append(picture(page))
        page.check("input[value=input]")
        seen.append(picture(page))
        for mark in ("region", "box", "centre"):
            page.uncheck(f"input[name={mark}]")
            seen.append(picture(page))
        assert len(set(seen)) == len(seen), name
    # The region is drawn on this one alone: a mark that is off leaves no trace.
    labels = page.locator("#ticks span").all_text_contents()
    assert labels == ["0.01 %", "0.1 %", "1 %", "10 %", "peak"]


@pytest.mark.parametrize("name", ["flat", "line", "volume"])
def test_a_pixel_is_read_where_it_is(name, visit, profiles):
    page, result = visit(name), profiles[name].results[-1]
    page.check("input[value=input]")
    canvas = page.locator("#maps canvas").first
    box = canvas.bounding_box()
    read = set()
    for down, across in ((0.45, 0.5), (0.5, 0.55), (0.4, 0.45)):
        canvas.hover(position={"x": across * box["width"], "y": down * box["height"]})
        label = page.text_content("#pixel")
        shown, value = label.split(": ")
        at = tuple(map(int, re.findall(r"(\d+)(?=,|$)", shown)))
        whole = result.map.sum(axis=2) if name == "volume" else result.map
        assert len(at) == whole.ndim
        if value == "not seen":
            assert whole[at] == 0
            continue
        given, share = value.split(", ")
        # Shown with three digits.
        assert float(given) == pytest.approx(whole[at], rel=6e-3)
        assert float(share.split(" %")[0]) == pytest.approx(100 * whole[at] / whole.max(), rel=6e-2)
        read.add(at)
    assert len(read) >= 2


def test_the_pixel_under_the_pointer_has_the_place_that_is_shown(visit):
    # The map's plot is as wide as its canvas less the margins; its first pixel lies in its corner.
    page = visit("flat")
    page.check("input[value=input]")
    labels = page.evaluate(
        """() => {
          const canvas = document.querySelector("#maps canvas");
          const box = canvas.getBoundingClientRect();
          return Array.from({ length: box.width / 2 }, (_, i) => {
            const [clientX, clientY] = [box.left + 2 * i, box.top + 12];
            canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));
            return [i, pixel.textContent];
          });
        }"""
    )
    corners = {}
    for step, text in labels:
        at = re.match(r"row (\d+), column (\d+)", text)
        if at:
            corners.setdefault(int(at[2]), []).append(step)
    assert sorted(corners) == list(range(32))
    widths = [len(one) for one in corners.values()]
    assert max(widths[1:-1]) - min(widths[1:-1]) <= 1


def test_comparison_shows_both(visit, profiles):
    page = visit("compared")
    for place, (one, other) in enumerate(
        zip(profiles["flat"].results, profiles["second"].results, strict=True)
    ):
        page.locator("#graph [role=option]").nth(place).click()
        cells = page.locator("#figures tr:has-text('Effective size') td").all_text_contents()
        assert cells == [with_error(each.size, each.size_error) for each in (one, other)]
    assert picture(page, 0) != picture(page, 1)
    assert page.locator("#chart .dot.erf-b").count() == 5
    assert page.locator(".which .tag").all_text_contents() == ["A", "B"]


def test_the_chart_chooses(visit, profiles):
    page = visit("compared")
    for place, name in enumerate(names(profiles["flat"])):
        page.locator(f"#chart .dot.trf[data-place='{place}']").click(force=True)
        assert layer(page) == name
    assert page.locator("#chart .dot.trf").count() == 5


@pytest.mark.parametrize("size", WIDTHS)
def test_the_table_sorts_and_chooses(size, visit, profiles):
    page, found = visit("flat", size), profiles["flat"]
    column = page.locator("#table tbody th")
    sizes = {one.layer: one.size for one in found.results}
    order = sorted(sizes, key=lambda name: (sizes[name], names(found).index(name)))
    header = page.locator("#table th[data-key=erf]")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert column.all_text_contents() == order
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert [sizes[one] for one in column.all_text_contents()] == sorted(
        sizes.values(), reverse=True
    )
    page.locator("#table th[data-key=layer] button").click()
    assert column.all_text_contents() == sorted(sizes)
    assert header.get_attribute("aria-sort") == "none"
    column.nth(0).locator("button").click()
    assert layer(page) == sorted(sizes)[0]


def saved(page, kind: str, folder) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        page.click(f"[data-kind={kind}]")
    waiting.value.save_as(folder / kind)
    return waiting.value.suggested_filename, (folder / kind).read_bytes()


def test_the_table_as_csv(visit, profiles, tmp_path):
    for name in ("flat", "hostile"):
        found = profiles[name]
        file, data = saved(visit(name), "csv", tmp_path)
        assert file.endswith(".csv")
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"))))
        assert [row["layer"] for row in rows] == names(found)
        assert [int(row["depth"]) for row in rows] == list(found.depths)
        # JavaScript and Python write the shortest text that reads as the same number.
        assert [float(row["erf_size"]) for row in rows] == [one.size for one in found.results]
        assert [float(row["ratio"]) for row in rows] == [one.ratio for one in found.results]


def test_both_as_csv(visit, profiles, tmp_path):
    _, data = saved(visit("compared"), "csv", tmp_path)
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"))))
    assert [float(row["erf_size_b"]) for row in rows] == [
        one.size for one in profiles["second"].results
    ]


def test_all_figures_as_json(visit, profiles, tmp_path):
    file, data = saved(visit("compared"), "json", tmp_path)
    assert file.endswith(".json")
    document = json.loads(data)
    for model, found in zip(
        document["models"], (profiles["flat"], profiles["second"]), strict=True
    ):
        for row, one in zip(model["layers"], found.results, strict=True):
            assert row["erf_size"] == one.size
            bell = one.compare().is_bell
            wanted = pytest.approx(one.sigma.tolist(), rel=1e-12) if bell else [None, None]
            assert row["sigma"] == wanted
            assert row["box"] == [list(pair) for pair in one.receptive_field.box()]
            assert "panels" not in row
    assert document["pairs"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["flat", "compared", "volume", "line", "hostile"])
def test_pictures(name, visit, profiles, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    page = visit(name)
    file, data = saved(page, "png", tmp_path)
    assert file.endswith(".png")
    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert len(np.unique(image[::5, ::5].reshape(-1, 3), axis=0)) > 10
    file, data = saved(page, "svg", tmp_path)
    assert file.endswith(".svg")
    root = ElementTree.fromstring(data)
    # Twice as many pixels.
    assert image.shape[1] == pytest.approx(2 * float(root.get("width")), abs=2)
    space = "{http://www.w3.org/2000/svg}"
    panels = {"compared": 2, "volume": 3}.get(name, 1)
    assert len(root.findall(f".//{space}image")) == (0 if name == "line" else panels)
    texts = [one.text for one in root.iter(f"{space}text")]
    last = profiles["flat" if name == "compared" else name].results[-1].layer
    assert sum(text.endswith(last) for text in texts) == panels
    for one in root.iter(f"{space}image"):
        assert one.get("href").startswith("data:image/png;base64,")
    # It stands by itself: nothing in it runs, or is asked for.
    assert not root.findall(f".//{space}script")


def test_the_region_is_outlined_where_it_is(visit, profiles, tmp_path):
    page, result = visit("flat"), profiles["flat"].results[-1]
    page.check("input[value=input]")
    for mark in ("ring", "box", "centre"):
        page.uncheck(f"input[name={mark}]")
    _, data = saved(page, "svg", tmp_path)
    root, space = ElementTree.fromstring(data), "{http://www.w3.org/2000/svg}"
    plot = root.find(f".//{space}clipPath/{space}rect")
    left, top, width = (float(plot.get(name)) for name in ("x", "y", "width"))
    halo, outline = (
        one.get("d") for one in root.iter(f"{space}path") if "clip-path" in one.attrib
        and one.get("fill") == "none"
    )  # fmt: skip
    assert halo == outline
    edges = {"H": set(), "V": set()}
    for x, y, way, end in re.findall(r"M([\d.]+) ([\d.]+)([HV])([\d.]+)", outline):
        at = [round((float(x) - left) * 32 / width), round((float(y) - top) * 32 / width)]
        along = 0 if way == "H" else 1
        stop = round((float(end) - (left, top)[along]) * 32 / width)
        for pixel in range(at[along], stop):
            edges[way].add((pixel, at[1]) if way == "H" else (at[0], pixel))
    mask = np.pad(result.region().mask, 1).astype(int)
    rows, columns = np.nonzero(np.diff(mask, axis=0)[:, 1:-1])
    assert edges["H"] == set(zip(columns.tolist(), rows.tolist(), strict=True))
    rows, columns = np.nonzero(np.diff(mask, axis=1)[1:-1])
    assert edges["V"] == set(zip(columns.tolist(), rows.tolist(), strict=True))


def test_nothing_of_the_model_becomes_a_part_of_the_page(visit):
    page = visit("hostile")
    assert page.locator("script").count() == 2
    assert page.locator("img, b[title]").count() == 0
    assert page.title() == HOSTILE
    assert page.text_content("h1") == HOSTILE


def test_the_page_cannot_reach_out(browser, files):
    page = browser.new_page()
    page.goto(files["flat"].as_uri())
    blocked = page.evaluate(
        """async () => {
          const found = [];
          addEventListener("securitypolicyviolation", (one) => found.push(one.effectiveDirective));
          await fetch("https://example.invalid/").catch(() => null);
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          const image = document.createElement("img");
          image.src = "https://example.invalid/a.png";
          document.body.append(image);
          await new Promise((done) => setTimeout(done, 200));
          return [found.sort(), window.ran ?? false];
        }"""
    )
    page.close()
    assert blocked == [["connect-src", "img-src", "script-src-elem"], False]
