"""The package as a whole: what it exports, how it is started, and that nothing hides it."""

import subprocess
import sys
from pathlib import Path

import gcvideo

ROOT = Path(__file__).parent.parent


def test_dir_shows_the_public_names_and_each_is_there():
    assert set(dir(gcvideo)) == {*gcvideo.__all__, "__version__"}
    for name in gcvideo.__all__:
        assert getattr(gcvideo, name).__name__ == name


def test_types_are_shipped():
    assert (ROOT / "gcvideo" / "py.typed").exists()
    assert "py.typed" in (ROOT / "pyproject.toml").read_text()


def test_python_m_gcvideo(tmp_path):
    done = subprocess.run([sys.executable, "-m", "gcvideo", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"gcvideo {gcvideo.__version__}\n"


def test_a_clone_does_not_hide_the_package_from_its_parent_folder(tmp_path):
    """A folder "gcvideo" without __init__.py, as a clone is, in the current folder."""
    (tmp_path / "gcvideo" / "gcvideo").mkdir(parents=True)
    code = "import gcvideo; print(gcvideo.__version__)"
    environment = {"PATH": "/usr/bin:/bin"}  # without PYTHONPATH: only what is installed counts
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{gcvideo.__version__}\n", done.stderr
