"""The notebooks run from top to bottom, and store no large outputs."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_STORED = 50_000
"""Bytes of outputs that a notebook may carry."""

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == ["context_block", "own_videos"]


@each
def test_stored_outputs_are_small(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    stored = sum(len(json.dumps(cell.get("outputs", []))) for cell in cells)
    assert stored < MAX_STORED
    assert not any(output["output_type"] == "error" for cell in cells for output in cell.get("outputs", []))


@each
def test_links_lead_somewhere(path):
    import re

    for target in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.slow
@each
def test_it_runs(path, tmp_path, monkeypatch):
    """In a kernel of its own, in an empty folder."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: the notebooks are not run")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: the notebooks are not run")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
