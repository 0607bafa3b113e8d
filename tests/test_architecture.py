"""Who may import whom, and what must not stand in the source (the design's rules)."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gcvideo"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imports(path):
    """Every module imported anywhere in a file, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(pattern):
    found = sorted(PACKAGE.glob(pattern))
    assert found, pattern
    return found


# Files -> what they must not import (prefixes).
FORBIDDEN = {
    "blocks/*.py": (
        "gcvideo.insertion",
        "gcvideo.models",
        "gcvideo.data",
        "gcvideo.training.task",
        "pytorchvideo",
        "torchvision",
    ),
    "insertion.py": ("gcvideo", "pytorch_lightning", "torchvision", "pytorchvideo"),
    "models/*.py": ("gcvideo.data", "gcvideo.training.task", "gcvideo.analysis", "pytorch_lightning"),
    "data/*.py": ("gcvideo.models", "gcvideo.blocks", "gcvideo.insertion", "gcvideo.training.task", "gcvideo.analysis"),
    "data/listing.py": ("gcvideo", "torch"),
    "data/manifest.py": ("gcvideo.data.sampling", "gcvideo.data.decode", "gcvideo.data.transforms", "torchvision"),
    "data/sampling.py": ("gcvideo",),
    "data/decode/*.py": (
        "gcvideo.data.manifest",
        "gcvideo.data.sampling",
        "gcvideo.data.transforms",
        "gcvideo.dataset_tools",
    ),
    "prepare/*.py": (
        "gcvideo.models",
        "gcvideo.blocks",
        "gcvideo.training.task",
        "gcvideo.analysis",
        "pytorch_lightning",
    ),
    "data/transforms.py": ("gcvideo",),
    "analysis/*.py": ("gcvideo.data", "gcvideo.training.task", "pytorch_lightning"),
    "optim.py": ("gcvideo", "pytorch_lightning"),
    "metrics.py": ("gcvideo", "pytorch_lightning"),
    "task.py": ("gcvideo.data", "gcvideo.report", "gcvideo.analysis"),
    "cli.py": ("torch", "pytorch_lightning"),
}

# Packages -> the only files that may import them.
ONLY_IN = {
    "decord": ("data/decode/decord_reader.py",),
    "torchcodec": ("data/decode/torchcodec_reader.py",),
    "pytorchvideo": ("models/parts.py",),
    "scipy": ("analysis/comparison.py",),
    "matplotlib": ("plots.py",),
    "av": ("data/synthetic.py", "data/decode/packets.py", "data/decode/pyav_reader.py", "prepare/transcode.py"),
    "jsonargparse": (),
}


def under(name, prefix):
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_direction_of_imports(pattern):
    for path in files(pattern):
        bad = [name for name in imports(path) for prefix in FORBIDDEN[pattern] if under(name, prefix)]
        assert not [name for name in bad if name not in own_package(path)], path


def own_package(path):
    """Imports inside one package (blocks/__init__.py from blocks/context.py) are not what the rules are about."""
    package = "gcvideo." + path.parent.name
    return {name for name in imports(path) if under(name, package)} if path.parent != PACKAGE else set()


def test_blocks_import_torch_only():
    allowed = {"torch", "collections", "typing", "gcvideo"}
    for path in files("blocks/*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path
        assert all(under(name, "gcvideo.blocks") for name in imports(path) if under(name, "gcvideo")), path


@pytest.mark.parametrize("package", ONLY_IN)
def test_libraries_stay_in_their_place(package):
    users = [str(path.relative_to(PACKAGE)) for path in SOURCES if any(under(name, package) for name in imports(path))]
    assert set(users) <= set(ONLY_IN[package])


@pytest.mark.parametrize(
    "pattern",
    (
        r"shell=True",
        r"os\.system|os\.popen",
        r"\beval\(|\bexec\(",
        r"pickle\.load",
        r"weights_only=False",
        r"torch\.load\((?!.*weights_only=True)",
        r"extractall\(",
    ),
)
def test_dangerous_calls_are_absent(pattern):
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert not re.search(pattern, line.replace(".eval()", "")), f"{path}:{number}: {line}"


def test_names_that_hide_what_a_thing_is():
    for path in SOURCES:
        assert path.stem not in ("utils", "helpers", "misc", "common", "base"), path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                assert not re.search(r"Manager|Helper|Base", node.name), f"{path}: {node.name}"
