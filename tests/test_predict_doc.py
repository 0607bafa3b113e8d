"""docs/predict.md: its commands and examples run, in a folder as a reader has it."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gcvideo
from gcvideo.cli.main import main
from gcvideo.data.transforms import Views
from tests.trained import write_run

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "predict.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
COMMANDS = re.findall(r"^    gcvideo (.*?)(?: +#.*)?$", DOCUMENT, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, numbered_clip, synthetic, monkeypatch):
    write_run(tmp_path / "runs" / "mine", ["wave", "nod", "clap"])
    numbered_clip(60, "clip.mp4")
    numbered_clip(200, "long.mp4")
    (tmp_path / "videos").mkdir()
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "videos")
    (tmp_path / "manifest.csv").write_text("path,label,split\nclip.mp4,wave,test\nlong.mp4,nod,train\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def example(word):
    (code,) = [code for code in EXAMPLES if word in code]
    return code


def test_labels_and_timeline(folder, capsys):
    commands = [command for command in COMMANDS if command.startswith("predict")]
    assert len(commands) == 4
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    assert "1 of 1 videos labelled; top-1" in capsys.readouterr().err
    for name in ("labels.csv", "labels.jsonl", "long.csv", "long.windows.csv", "long.png"):
        assert (folder / name).stat().st_size > 0


def test_python(folder, capsys):
    exec(compile(example("recognizer.timeline"), "example", "exec"), {})
    assert " s: " in capsys.readouterr().out


def test_packages(folder, capsys):
    pytest.importorskip("huggingface_hub")
    commands = [command for command in COMMANDS if "safetensors" in command or "hub" in command]
    assert [main(shlex.split(command)) for command in commands] == [0, 0]
    exec(compile(example("HubModel"), "example", "exec"), {})
    assert gcvideo.load("mine.safetensors", "cpu").class_names == ["wave", "nod", "clap"]


@pytest.mark.slow
def test_exported_files(folder, capsys):
    """The ONNX example with the libraries of this environment, next to the model itself."""
    pytest.importorskip("onnxruntime")
    commands = [command for command in COMMANDS if command.startswith("export") and ".onnx" in command]
    commands += [command for command in COMMANDS if ".pt2" in command]
    assert [main(shlex.split(command)) for command in commands] == [0, 0]
    scope = {}
    exec(compile(example("onnxruntime"), "example", "exec"), scope)
    expected = gcvideo.load("runs/mine", "cpu", views=Views(1, 1)).predict("clip.mp4").scores
    np.testing.assert_allclose(scope["probabilities"][0], expected, atol=0.05)  # PyAV's resizing has another filter
    assert "gcvideo" not in example("onnxruntime")


@pytest.mark.slow
def test_the_onnx_example_in_a_fresh_environment(folder):
    """With onnxruntime, numpy and av alone: neither torch nor gcvideo can be imported there."""
    pytest.importorskip("onnxruntime")
    assert main(["export", "runs/mine", "mine.onnx"]) == 0
    subprocess.run([sys.executable, "-m", "venv", "fresh"], check=True, timeout=300)
    python = folder / "fresh" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "onnxruntime", "numpy", "av"]
    if subprocess.run(install, capture_output=True, timeout=500).returncode:
        pytest.skip("onnxruntime, numpy and av can't be installed: no package index")
    (folder / "example.py").write_text(example("onnxruntime"))
    check = "import importlib.util as u; print([u.find_spec(n) for n in ('torch', 'gcvideo')])"
    bare = {"cwd": folder, "env": {}, "capture_output": True, "text": True, "timeout": 300}
    assert subprocess.run([python, "-c", check], **bare).stdout == "[None, None]\n"
    done = subprocess.run([python, "example.py"], **bare)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in ("wave", "nod", "clap")
