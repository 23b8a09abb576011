"""What notebooks show: pictures that are pictures, figures that are the result's, names escaped."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from keras_erf.fields.theoretical import FieldTable
from keras_erf.measuring.profiling import Profile
from tests.pictures import bell, gaussian, make_result

HOSTILE = "<script>alert('1')</script>"


def pictures(text: str) -> list[Image.Image]:
    held = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in held]


def cells(text: str) -> dict[str, str]:
    return dict(re.findall(r"<th[^>]*>(.*?)</th><td[^>]*>(.*?)</td>", text))


@pytest.mark.parametrize(
    "result",
    [
        bell(3.0, 21, layer=HOSTILE, dead=2),
        make_result([gaussian((41,), (20,), np.eye(1) / 9)], ((10, 31),), layer=HOSTILE),
        make_result([gaussian((8, 9, 10), (4, 4, 4), np.eye(3))], layer=HOSTILE),
    ],
    ids=["image", "sequence", "volume"],
)
def test_a_result_is_a_picture_and_its_figures(result):
    text = result._repr_html_()
    (picture,) = pictures(text)
    # Not a blank one.
    assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    shown = cells(text)
    assert "<script>" not in text
    assert shown["layer, unit"].startswith("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;, (")
    assert shown["ERF size"].startswith(f"{result.size:.1f} ")
    assert shown["ERF size"].endswith(f" px ({100 * result.ratio:.0f} %)")
    assert shown["theoretical field"].endswith(" px, exact")
    assert ("without gradient" in shown) == (result.dead > 0)
    assert not plt.get_fignums()


def test_a_profile_is_a_picture_and_a_table():
    results = [
        replace(bell(s, side, layer=HOSTILE), provenance={"model": HOSTILE})
        for s, side in ((1.0, 5), (2.0, 11))
    ]
    text = Profile(tuple(results), (1, 2))._repr_html_()
    assert len(pictures(text)) == 1
    assert text.count("&lt;script&gt;") == 2
    assert "<script>" not in text
    for one in results:
        assert f"<td>{one.size:.3g}</td>" in text
    assert not plt.get_fignums()
    assert Profile((), ())._repr_html_() == "<p>&lt;Profile of 0 layers&gt;</p>"


def test_fields_are_tables():
    field = bell(1.0, 5, layer=HOSTILE).receptive_field
    shown = cells(field._repr_html_())
    assert shown["layer, unit"] == "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;, (15, 18)"
    assert shown["sees"] == "5 × 5 px of input, 33 × 37 px"
    table = FieldTable((field, field), (("flat", "no axes"),))
    assert repr(table) == "<FieldTable of 2 layers, 1 skipped>"
    assert table._repr_html_().count("&lt;script&gt;") == 2
