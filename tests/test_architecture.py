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


FRAMEWORKS = ("pytorch_lightning", "torchmetrics")

# Files -> what they must not import (prefixes).
FORBIDDEN = {
    "errors.py": ("gcvideo", "torch"),
    "yaml_text.py": ("gcvideo.data", "gcvideo.models", "gcvideo.training", "torch"),
    "processes.py": ("gcvideo", "torch"),
    "locking.py": ("gcvideo.data", "gcvideo.models", "gcvideo.training", "torch"),
    "cluster.py": ("gcvideo.data", "gcvideo.dataset_tools", "gcvideo.sweep", "gcvideo.training", "torch"),
    "files.py": ("gcvideo", "torch"),
    "figures.py": ("gcvideo", "torch"),
    "garbage.py": ("gcvideo", "torch"),
    "pages.py": ("gcvideo", "torch"),
    "blocks/*.py": ("gcvideo.insertion", "gcvideo.models", "gcvideo.data", "gcvideo.training", "torchvision"),
    "insertion.py": ("gcvideo", "torchvision", "pytorchvideo", *FRAMEWORKS),
    "models/*.py": ("gcvideo.data", "gcvideo.training", "gcvideo.analysis", "gcvideo.dataset_tools", *FRAMEWORKS),
    "data/**/*.py": (
        "gcvideo.models", "gcvideo.blocks", "gcvideo.insertion", "gcvideo.training", "gcvideo.analysis",
        "gcvideo.dataset_tools", "gcvideo.report", "gcvideo.cli", "matplotlib", "scipy",
    ),
    "data/listing.py": ("gcvideo.data", "torch"),
    "data/manifest.py": ("gcvideo.data.sampling", "gcvideo.data.decode", "gcvideo.data.transforms", "torchvision"),
    "data/sampling.py": ("gcvideo.data",),
    "data/transforms.py": ("gcvideo.data",),
    "data/batch.py": ("gcvideo.data",),
    "data/decode/*.py": ("gcvideo.data.manifest", "gcvideo.data.sampling", "gcvideo.data.transforms"),
    "dataset_tools/*.py": (
        "gcvideo.models", "gcvideo.blocks", "gcvideo.training", "gcvideo.analysis", "gcvideo.report", "gcvideo.sweep",
        "scipy", *FRAMEWORKS,
    ),
    "analysis/*.py": (
        "gcvideo.training", "gcvideo.recognition", "gcvideo.report", "gcvideo.sweep", "gcvideo.dataset_tools",
        "gcvideo.cli", *FRAMEWORKS,
    ),
    "training/*.py": (
        "gcvideo.analysis", "gcvideo.report", "gcvideo.sweep", "gcvideo.comparison", "gcvideo.dataset_tools",
        "gcvideo.cli", "matplotlib", "scipy",
    ),
    "recognition/*.py": (
        "gcvideo.analysis", "gcvideo.cli", "gcvideo.report", "gcvideo.sweep", "gcvideo.dataset_tools", "scipy",
    ),
    "exporting/*.py": ("gcvideo.analysis", "gcvideo.cli", "gcvideo.sweep", "gcvideo.dataset_tools", "gcvideo.serving"),
    "serving/*.py": ("gcvideo.cli", "gcvideo.report", "gcvideo.sweep", "gcvideo.dataset_tools", "gcvideo.training"),
    "training/package.py": ("torchvision", "gcvideo.data", "gcvideo.models", *FRAMEWORKS),
    "training/optim.py": ("gcvideo", "pytorch_lightning"),
    "fit_marker.py": ("gcvideo.training", "gcvideo.data", "torch", *FRAMEWORKS),
    "training/metrics.py": ("gcvideo.data", "gcvideo.models", "pytorch_lightning"),
    "report/*.py": ("gcvideo.sweep", "gcvideo.comparison", "gcvideo.dataset_tools", "gcvideo.cli", "scipy"),
    "sweep/*.py": ("gcvideo.comparison", "gcvideo.dataset_tools", "gcvideo.cli"),
    "comparison/*.py": (
        "gcvideo.data", "gcvideo.models", "gcvideo.training", "gcvideo.dataset_tools", "gcvideo.cli", "torch", "scipy",
    ),
    "cli/main.py": ("torch", "pytorch_lightning"),
}  # fmt: skip

# Of its data side, training knows the batch, the data module by name in the callbacks, and what a loader raises.
TRAINING_MAY_IMPORT = ("gcvideo.data.batch", "gcvideo.data.datamodule", "gcvideo.data.loader")

# Packages -> the only files that may import them.
ONLY_IN = {
    "dask": ("cluster.py",),
    "distributed": ("cluster.py",),
    "decord": ("data/decode/decord_reader.py",),
    "torchcodec": ("data/decode/torchcodec_reader.py",),
    "pytorchvideo": ("models/parts.py",),
    "scipy": ("sweep/statistics.py",),
    "matplotlib": (
        "figures.py", "analysis/drawing.py", "analysis/plots.py", "report/plots.py", "sweep/plot.py",
        "dataset_tools/histograms.py", "recognition/timeline_plot.py",
    ),
    "jinja2": ("pages.py",),
    "av": (
        "dataset_tools/h264.py", "dataset_tools/transcode.py",
        "data/decode/packets.py", "data/decode/pyav_reader.py",
    ),
    "safetensors": ("training/package.py",),
    "gradio": ("serving/page.py",),
    "huggingface_hub": ("exporting/hub.py",),
    "onnxruntime": (),  # imported by its name in exporting/graph.py, because it is an extra
    "triton": ("blocks/triton_pooling.py",),
    "webdataset": (),
    "shtab": ("cli/completion.py",),
    "jsonargparse": ("cli/training.py", "cli/trainer_parts.py", "cli/trusted.py"),
}  # fmt: skip


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


def test_training_knows_the_batch_of_the_data_side():
    for path in files("training/*.py"):
        for name in imports(path):
            if under(name, "gcvideo.data"):
                assert any(under(name, allowed) for allowed in TRAINING_MAY_IMPORT), f"{path}: {name}"


def test_one_function_writes_files_atomically():
    """os.replace, fsync and temporary names stand in files.py; archives of directories and downloads have their own."""
    allowed = ("files.py", "download.py", "dataset_tools/mirror.py", "dataset_tools/prepare.py")
    for path in SOURCES:
        if str(path.relative_to(PACKAGE)) not in allowed:
            assert not re.search(r"os\.replace|\.replace\(target\)|os\.fsync\(|\.part[\"']", path.read_text()), path


def test_errors_are_printed_in_one_place_and_have_one_root():
    """Besides, the parser of the training verbs has errors of its own, and a download lists all that failed."""
    users = [str(path.relative_to(PACKAGE)) for path in SOURCES if re.search(r"""["']error: """, path.read_text())]
    assert users == ["cli/datasets.py", "cli/main.py", "cli/strict_parser.py"]
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.name != "GcvideoError":
                ours = ("GcvideoError", "UsageError", "ArchiveError", "ManifestError")
                assert any(getattr(base, "id", "") in ours for base in node.bases), f"{path}: {node.name}"


def test_blocks_import_torch_only():
    # triton: see ONLY_IN
    allowed = {
        "torch",
        "collections",
        "contextlib",
        "dataclasses",
        "functools",
        "importlib",
        "types",
        "typing",
        "warnings",
        "gcvideo",
        "triton",
    }
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


def test_checkpoints_are_read_weights_only():
    """Stated in every call: torch's default is changed by an environment variable, Lightning's by an argument."""
    calls = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if (
                name.split(".")[-1] not in ("load_from_checkpoint", "load_checkpoint", "pl_load")
                and name != "torch.load"
            ):
                continue
            stated = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert stated.get("weights_only") == "True", f"{path}:{node.lineno}"
            calls.append(path.name)
    assert "torch_file.py" in calls


def test_names_that_hide_what_a_thing_is():
    for path in SOURCES:
        assert path.stem not in ("utils", "helpers", "misc", "common", "base"), path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                assert not re.search(r"Manager|Helper|Base", node.name), f"{path}: {node.name}"
