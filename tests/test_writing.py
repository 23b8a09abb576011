"""Files are written whole or not at all."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keras_erf.errors import InvalidInputError
from keras_erf.files.naming import file_name
from keras_erf.files.writing import written_whole
from tests.hanging import HANGING


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_the_file_appears_at_the_end(tmp_path):
    target = tmp_path / "new" / "folder" / "map.npz"
    with written_whole(target) as temporary:
        temporary.write_text("done")
        assert not target.exists()
        # Writers that go by the suffix, matplotlib's for one, must find it.
        assert temporary.suffix == ".npz"
        assert temporary.parent == target.parent
    assert target.read_text() == "done"
    assert names(target.parent) == ["map.npz"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", ["old", None])
def test_an_error_or_interruption_leaves_what_was_there(tmp_path, error, before):
    target = tmp_path / "map.npz"
    if before:
        target.write_text(before)

    def write() -> None:
        with written_whole(target) as temporary:
            temporary.write_text("half of")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == (["map.npz"] if before else [])
    assert not before or target.read_text() == before


def test_an_interrupted_process_leaves_what_was_there(tmp_path):
    target = tmp_path / "map.npz"
    target.write_text("old")
    script = (
        "import os, signal, sys\n"
        "from keras_erf.files.writing import written_whole\n"
        # A shell starts background jobs with interruptions ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with written_whole(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half of')\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    signal.pause()\n"
    )
    root = Path(__file__).resolve().parents[1]
    run = subprocess.run(
        [sys.executable, "-c", script, str(target)],
        cwd=root, capture_output=True, text=True, timeout=HANGING, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert "KeyboardInterrupt" in run.stderr
    assert names(tmp_path) == ["map.npz"]
    assert target.read_text() == "old"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_permissions_are_those_of_a_plain_open(tmp_path, mask):
    before = os.umask(mask)
    try:
        (tmp_path / "plain").write_text("")
        with written_whole(tmp_path / "whole") as temporary:
            temporary.write_text("")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    plain, whole = (stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("plain", "whole"))
    assert whole == plain == 0o666 & ~mask


def test_a_file_keeps_its_permissions(tmp_path):
    target = tmp_path / "private"
    target.write_text("old")
    target.chmod(0o600)
    with written_whole(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    file, link = tmp_path / "real" / "map.npz", tmp_path / "link.npz"
    file.write_text("old")
    link.symlink_to(file)
    with written_whole(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert names(tmp_path / "real") == ["map.npz"]


def refused(path: Path) -> str:
    """The one line said about a path, whose block must not be entered."""
    with pytest.raises(InvalidInputError) as caught, written_whole(path):
        raise AssertionError("the block was entered")
    message = str(caught.value)
    assert message.startswith("`path`")
    assert f"Received: {str(path)!r}" in message
    assert "\n" not in message
    return message


def test_a_folder_that_cannot_be_written(tmp_path):
    # A file in the folder's place: permissions would not stop root.
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file" / "map.npz", tmp_path / "file" / "deeper" / "map.npz"):
        refused(path)
    assert (tmp_path / "file").read_text() == "kept"
    assert names(tmp_path) == ["file"]


def test_a_folder_is_no_file(tmp_path):
    refused(tmp_path)
    assert names(tmp_path) == []


def test_a_device_is_not_replaced(tmp_path):
    # Renaming onto /dev/null would, for root, do away with it; a pipe stands in for it here.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_full_disk_is_reported_with_the_path(tmp_path):
    target = tmp_path / "map.npz"

    def write() -> None:
        with written_whole(target):
            raise OSError(28, "No space left on device")

    with pytest.raises(InvalidInputError, match=r"No space left on device.*map\.npz"):
        write()
    assert names(tmp_path) == []


def test_names_may_be_as_long_as_files_may_have(tmp_path):
    target = tmp_path / ("n" * 251 + ".npz")
    with written_whole(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_the_mask_of_new_files_is_never_lifted(tmp_path, monkeypatch):
    """It is the whole process's: another thread's file would be open to everybody."""
    monkeypatch.setattr(os, "umask", None)
    with written_whole(tmp_path / "map.npz") as temporary:
        temporary.write_text("new")


def test_layers_that_differ_get_files_that_differ():
    names = ["a/c", "a_c", "A_c", "a c"]
    assert len({file_name(one).casefold() for one in names}) == len(names)
    assert all(re.fullmatch(r"[\w.-]+", file_name(one)) for one in names)
    assert file_name("a", "x") != file_name("a", "y")
    assert file_name("a_c").startswith("a_c-")
