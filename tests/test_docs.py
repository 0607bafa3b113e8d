"""Examples in the documents run; the files and options that they name exist."""

import doctest
import re
from pathlib import Path

import pytest
import torch
import yaml

import gcvideo.insertion
import gcvideo.models.create
import gcvideo.training.task
from gcvideo.training.task import VideoTask

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "data" / "README.md"])
EXAMPLES = [
    pytest.param(code, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    if path.name != "predict.md"  # of a trained run: see test_predict_doc
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {})


def test_examples_in_docstrings():
    """In the public docstrings: one module fails if it has none."""
    for module in (gcvideo.insertion, gcvideo.models.create, gcvideo.training.task):
        results = doctest.testmod(module, extraglobs={"torch": torch, "VideoTask": VideoTask})
        assert results.attempted >= 2, module
        assert results.failed == 0, module


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_tree_in_the_readme_exists():
    tree = re.search(r"## The tree\n\n(.*?)\n\n", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    for name in re.findall(r"(?:gcvideo|configs|data|docs|benchmarks|tests)/[\w/]*(?:\.py)?", tree):
        assert (ROOT / name).exists(), name


def test_settings_named_in_the_documents_exist():
    import inspect

    from pytorch_lightning import Trainer

    from gcvideo.data.datamodule import VideoDataModule
    from gcvideo.training.task import VideoTask

    homes = {"data": VideoDataModule, "model": VideoTask, "trainer": Trainer}
    for path in DOCUMENTS:
        for group, name in re.findall(r"(?<![.\w])(data|model|trainer)\.([a-z_0-9.]+)(?=[\s`,= ])", path.read_text()):
            first, *rest = name.split(".")
            if first in ("load_state_dict", "state_dict", "to", "parameters", "safetensors"):
                continue
            parameters = inspect.signature(homes[group].__init__).parameters
            assert first in parameters, f"{path.name}: {group}.{name}"
            if rest and first not in ("block", "net"):  # whose options are those of a class
                assert hasattr(parameters[first].default, rest[0]), f"{path.name}: {group}.{name}"


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "configs").rglob("*.yaml")) if path.parent.name != "sweeps"],
    ids=lambda path: path.name,
)
def test_configs_state_only_what_differs_from_the_defaults(path):
    """Or from the file that they are given after: "# Changes demo.yaml"."""
    from tests.test_configs import default_of, leaves

    changed = re.match(r"# Changes (\w+\.yaml)", path.read_text())
    base = yaml.safe_load((path.parent / changed[1]).read_text()) if changed else {}
    for group, settings in yaml.safe_load(path.read_text()).items():
        if isinstance(settings, dict):
            before = dict(leaves(base.get(group, {})))
            for name, value in leaves(settings):
                assert before.get(name, default_of(group, name)) != value, f"{group}.{name}"
