"""Files and folders appear complete or not at all, and nothing temporary is left."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gcvideo.files
from gcvideo.files import (
    creating_folder,
    csv_text,
    json_text,
    open_no_link,
    publish,
    replacing,
    write_bytes,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "before\n")
    with replacing(path) as partial:
        partial.write_text("after\r\n", newline="")
        assert partial.parent == path.parent
        assert path.read_text() == "before\n"
    assert path.read_bytes() == b"after\r\n"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_leaves_the_old_file(tmp_path):
    write_bytes(tmp_path / "a", b"before")

    def interrupted():
        with replacing(tmp_path / "a") as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a").read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    write_bytes(tmp_path / "a", b"before")
    code = (
        "import os, signal, sys\n"
        "from gcvideo.files import replacing\n"
        "with replacing(sys.argv[1]) as partial:\n"
        "    partial.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")]).returncode < 0
    assert (tmp_path / "a").read_bytes() == b"before"


def test_two_processes_write_into_two_files(tmp_path, monkeypatch):
    with replacing(tmp_path / "a") as mine:
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with replacing(tmp_path / "a") as other:
            assert mine != other
            other.write_text("other")
        mine.write_text("mine")
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize("fails", (False, True))
def test_a_folder_appears_when_it_is_complete(tmp_path, fails):
    try:
        with creating_folder(tmp_path / "new" / "folder") as partial:
            (partial / "x").touch()
            assert not (tmp_path / "new" / "folder").exists()
            if fails:
                raise ValueError
    except ValueError:
        assert names(tmp_path / "new") == []
    else:
        assert names(tmp_path / "new" / "folder") == ["x"]


def test_nothing_else_in_the_package_replaces_files():
    package = Path(gcvideo.files.__file__).parent
    users = {path.name for path in package.rglob("*.py") if re.search(r"os\.replace|os\.rename", path.read_text())}
    assert users == {"files.py"}


def test_csv_and_json():
    rows = [["a,b", 'c"d', "e\nf"], ["ü", 1, 2.5]]
    text = csv_text(("x", "y", "z"), rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["x", "y", "z"], rows[0], ["ü", "1", "2.5"]]
    assert "\r" not in text
    assert json.loads(json_text({"ü": [1, None]})) == {"ü": [1, None]}
    assert json_text("ü") == '"ü"\n'


def test_a_planted_link_is_not_followed(tmp_path):
    """Neither at the target, which is replaced, nor at a name that someone could foresee."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    target = tmp_path / "report.json"
    target.symlink_to(victim)
    names = set()
    for _ in range(2):
        with replacing(target) as partial:
            names.add(partial.name)
            assert partial.is_file()
            partial.write_text("new")
    assert len(names) == 2
    assert not target.is_symlink()
    assert (target.read_text(), victim.read_text()) == ("new", "mine")
    link = tmp_path / "link"
    link.symlink_to(victim)
    for mode in ("rb", "wb", "ab", "rb+"):
        with pytest.raises(OSError, match="symbolic links"):
            open_no_link(link, mode)
    with pytest.raises(OSError, match="symbolic links"):
        publish(link, tmp_path / "x")
    assert victim.read_text() == "mine"


def test_new_files_have_the_usual_permissions(tmp_path):
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize(
    "cell",
    ("=1+1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")', "-1+cmd|' /C calc'!A0", "+cmd|' /C calc'!A0",
     "-\n(x", "+SUM(1)"),
)  # fmt: skip
def test_a_cell_is_no_formula(cell):
    rows = list(csv.reader(io.StringIO(csv_text(("x",), [[cell]]), newline="")))
    assert rows == [["x"], [f"'{cell}"]]
    assert list(csv.reader(io.StringIO(csv_text(("x",), [[cell]], exact=True), newline="")))[1:] == [[cell]]


@pytest.mark.parametrize(
    "cell", ("-0nKp8-9ylA_000010.mp4", "-0.5", "+1", "1e-5", "a=b", "x@y", -1, 0.5, "'quoted'", "")
)
def test_other_cells_stay(cell):
    assert (
        csv_text(("x", "y"), [["y", cell]]).splitlines()[1]
        == csv_text(("x", "y"), [["y", cell]], exact=True).splitlines()[1]
    )
