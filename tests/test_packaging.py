"""What the wheel holds, and that the zoo is found in every way of installing."""

from __future__ import annotations

import ast
import configparser
import email
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from keras_erf._version import __version__

NEEDS = "building needs the extra `test`: pip install -e '.[test]'"
pytest.importorskip("build", reason=NEEDS)
pytest.importorskip("setuptools", minversion="77", reason=NEEDS)

ROOT = Path(__file__).resolve().parents[1]
DIST_INFO = f"keras_erf-{__version__}.dist-info"
BRIDGE = "keras_erf/models/__init__.py"


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command and returns what it printed; shows all of it if it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """Builds `source` into `out` with the installed setuptools: quick, and without a network."""
    run(sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "-o", out, cwd=source)
    (built,) = out.iterdir()
    return built


def contents(wheel: Path) -> dict[str, bytes]:
    """Returns the files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of this checkout without its builds: a stale `build/` would ship deleted files."""
    copy = tmp_path_factory.mktemp("checkout") / "keras-erf"
    ignore = shutil.ignore_patterns(
        ".*", "*.egg-info", "__pycache__", "build", "dist", "*[-_]output"
    )
    shutil.copytree(ROOT, copy, ignore=ignore)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    return build("wheel", checkout, tmp_path_factory.mktemp("wheel"))


def test_wheel_holds_the_library_and_the_zoo_and_nothing_else(checkout, wheel):
    code = {path.relative_to(checkout).as_posix() for path in checkout.glob("keras_erf/**/*.py")}
    zoo = {
        path.relative_to(checkout).as_posix()
        for pattern in ("*.py", "weights/*.weights.h5", "weights/*.md")
        for path in checkout.glob(f"models/{pattern}")
    }
    assets = {
        path.relative_to(checkout).as_posix() for path in checkout.glob("keras_erf/**/assets/*")
    }
    metadata = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")
    expected = {name for name in code if name != BRIDGE}
    expected |= {f"keras_erf/{name}" for name in zoo} | assets
    expected |= {"keras_erf/py.typed", f"{DIST_INFO}/licenses/LICENSE"}
    expected |= {f"{DIST_INFO}/{name}" for name in metadata}
    assert set(contents(wheel)) == expected


def test_wheel_holds_every_file_of_the_zoo(checkout, wheel):
    zoo = {path.relative_to(checkout) for path in checkout.glob("models/**/*") if path.is_file()}
    shipped = {name for name in contents(wheel) if name.startswith("keras_erf/models/")}
    assert shipped == {f"keras_erf/{path.as_posix()}" for path in zoo}


def test_wheel_has_the_zoo_for_the_bridge(checkout, wheel):
    shipped = contents(wheel)[BRIDGE]
    assert shipped == (checkout / "models/__init__.py").read_bytes()
    assert shipped != (checkout / BRIDGE).read_bytes()


def test_metadata(wheel):
    files = contents(wheel)
    metadata = email.message_from_bytes(files[f"{DIST_INFO}/METADATA"])
    assert metadata["Name"] == "keras-erf"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    scripts = configparser.ConfigParser()
    scripts.read_string(files[f"{DIST_INFO}/entry_points.txt"].decode())
    assert {name: dict(scripts[name]) for name in scripts.sections()} == {
        "console_scripts": {"keras-erf": "keras_erf.cli:main"}
    }


def imported(checkout: Path) -> set[str]:
    """Names the third-party packages that the library and the zoo import anywhere."""
    paths = [*checkout.glob("keras_erf/**/*.py"), *checkout.glob("models/**/*.py")]
    names = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"keras_erf"}


# Pillow's own name; what a notebook has by itself; what an extra brings; Python's from 3.11 on; the
# protocol buffers of TensorFlow, whose release must be the one that TensorFlow asks for.
NOT_OURS = {"dask", "distributed", "PIL", "IPython", "ray", "tomllib", "google"}


def test_run_time_dependencies_are_what_is_imported_with_lower_bounds_only(checkout, wheel):
    metadata = email.message_from_bytes(contents(wheel)[f"{DIST_INFO}/METADATA"])
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    # TOML is in Python's own library from 3.11 on.
    required = [line.partition(";")[0] for line in required]
    bounds = [re.fullmatch(r"([a-z0-9]+)>=[0-9.]+", line) for line in required]
    assert None not in bounds, required
    assert {bound[1] for bound in bounds} == imported(checkout) - NOT_OURS | {"pillow"}


def test_sdist_builds_the_same_wheel(checkout, wheel, tmp_path):
    sdist = build("sdist", checkout, tmp_path / "sdist")
    # Older Pythons have no filter, newer ones warn without it.
    options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    shutil.unpack_archive(sdist, tmp_path / "unpacked", **options)
    (source,) = (tmp_path / "unpacked").iterdir()
    # Whole enough to be tested as it is: the bridge and the tests came along.
    assert (source / BRIDGE).exists()
    assert (source / "tests/conftest.py").exists()
    again = build("wheel", source, tmp_path / "again")
    ours, theirs = contents(wheel), contents(again)
    del ours[f"{DIST_INFO}/RECORD"], theirs[f"{DIST_INFO}/RECORD"]
    assert theirs == ours


def install(mode: str, checkout: Path, wheel: Path, tmp_path: Path) -> Path:
    """Installs in one of the three modes and returns the folder to put on the path."""
    if mode == "checkout":
        return checkout
    if mode == "editable":
        # What `pip install --editable` does, short of writing into this environment.
        made = "import sys; from setuptools.build_meta import build_editable as b; b(sys.argv[1])"
        (tmp_path / "editable").mkdir()
        run(sys.executable, "-c", made, tmp_path / "editable", cwd=checkout)
        (wheel,) = (tmp_path / "editable").iterdir()
    target = tmp_path / "site"
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target")
    run(sys.executable, *pip, target, wheel, cwd=tmp_path)
    return target


@pytest.mark.parametrize(
    ("mode", "home"),
    [
        ("checkout", "{checkout}/models"),
        ("editable", "{checkout}/models"),
        ("wheel", "{target}/keras_erf/models"),
    ],
)
def test_zoo_is_found(mode, home, checkout, wheel, tmp_path):
    target = install(mode, checkout, wheel, tmp_path)
    # No `site`: it would add the folder at work, and an editable install of this very checkout.
    code = (
        "import importlib.util, json, site, sys\n"
        "target, *libraries = sys.argv[1:]\n"
        "sys.path.insert(0, target)\n"
        "site.addsitedir(target)\n"
        "sys.path += libraries\n"
        "from keras_erf import zoo\n"
        "plain = importlib.util.find_spec('keras_erf.models.plain')\n"
        "alone = importlib.util.find_spec('models')\n"
        "print(json.dumps([list(zoo.available()), plain.origin, alone is None]))\n"
    )
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (tmp_path / "empty").mkdir()
    command = (sys.executable, "-I", "-S", "-c", code, target, *libraries)
    names, origin, no_models = json.loads(run(*command, cwd=tmp_path / "empty"))
    assert "cifar_resnet14" in names
    assert Path(origin) == Path(home.format(checkout=checkout, target=target)) / "plain.py"
    assert no_models or mode == "checkout"
