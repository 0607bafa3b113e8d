"""The commands of the guides: each is one that the command line takes, and those of own_videos.md label a new clip."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gcvideo.cli.help import stored_help
from gcvideo.cli.main import TRAINING_VERBS, VERBS
from gcvideo.dataset_tools.h264 import write_video

ROOT = Path(__file__).parent.parent
GUIDES = [
    ROOT / "docs" / f"{name}.md" for name in ("quick_start", "own_videos", "kinetics", "paper_table", "model_cards")
]
LIMIT_S = 300
"""Five minutes, for the commands of own_videos.md on two idle cores."""


def commands(text):
    """The lines of indented blocks that call gcvideo, as lists of arguments without `gcvideo`."""
    lines = re.findall(r"^    (gcvideo .*)$", text.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


EVERY_COMMAND = [
    pytest.param(command, id=f"{path.stem}: {' '.join(command[:4])}")
    for path in GUIDES
    for command in commands(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_the_command_line_takes_it(command):
    verb, *arguments = command
    if verb in VERBS:
        VERBS[verb].parser().parse_args(arguments)  # ends the process with a message if it does not
        return
    assert verb in (*TRAINING_VERBS, "doctor")
    text = stored_help("fit" if verb == "doctor" else verb)
    for option in arguments:
        if option.startswith("--") and not option.startswith("--trainer."):  # Lightning's are in test_docs.py
            assert f"  {option.split('=')[0]}" in text, option
    for file in (argument for argument in arguments if argument.endswith(".yaml")):
        assert (ROOT / file).exists(), file


def test_settings_in_the_table_of_remedies_are_values_that_fit_takes():
    """`name value` in the guide's own form, such as `data.augment.flip false`."""
    guide = (ROOT / "docs" / "own_videos.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:data|model)\.[\w.]+|precise_bn)(?: (\w[\w.]*))?`", guide)
    assert len(named) >= 8
    for name, value in named:
        head = re.search(rf"^  --{re.escape(name)}\b(.*(?:\n      .*)*)", stored_help("fit"), re.MULTILINE)
        assert head, name
        choices = re.search(r"\{(.*?)\}", head[1], re.DOTALL)
        if value and choices:
            assert value in re.split(r",\s+", choices[1]), f"{name} {value}"


def clip(kind, seed, num_frames=32, height=96, width=128):
    """Frames [T, H, W, 3] of a square that rolls to the right, falls, or blinks, before a background of its own."""
    generator = np.random.default_rng((seed, *kind.encode()))
    tiles = generator.integers(20, 80, (height // 16, width // 16, 1), dtype=np.uint8)
    frames = np.repeat(np.kron(tiles, np.ones((16, 16, 3), np.uint8))[None], num_frames, axis=0)
    top, left = generator.integers(8, 40), generator.integers(8, 60)
    for number, frame in enumerate(frames):
        if kind == "rolling":
            x = (left + 4 * number) % (width - 32)
            frame[56:88, x : x + 32] = 220, 60, 50
        elif kind == "falling":
            y = (top + 4 * number) % (height - 32)
            frame[y : y + 32, left : left + 32] = 60, 200, 80
        elif number // 4 % 2:
            frame[top : top + 48, left : left + 60] = 70, 90, 230
    return frames


@pytest.mark.slow
def test_from_three_folders_of_clips_to_a_label_as_in_the_guide(tmp_path, capsys):
    for kind in ("blinking", "falling", "rolling"):
        (tmp_path / "clips" / kind).mkdir(parents=True)
        for number in range(6):
            write_video(tmp_path / "clips" / kind / f"{number}.mp4", clip(kind, number))
    write_video(tmp_path / "new.mp4", clip("falling", 100))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    guide = (ROOT / "docs" / "own_videos.md").read_text(encoding="utf-8")
    steps = commands(re.search(r"<!-- run -->\n(.*?)\n1\. ", guide, re.DOTALL)[1])
    assert [step[0] for step in steps] == ["split", "check", "fit", "test", "predict"]

    begin, seconds = time.monotonic(), {}
    # One thread: where other tests run at the same time, more of them wait for each other.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for step in steps:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "gcvideo", *step], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
        seconds[step[0]] = round(time.monotonic() - start)
    total = time.monotonic() - begin
    with capsys.disabled():
        print(f"\nown_videos.md: {total:.0f} s, {seconds}; {done.stdout.strip()}")

    assert (tmp_path / "runs" / "mine" / "report.html").exists()
    assert re.match(r"new\.mp4: falling 0\.\d+|new\.mp4: falling 1\.000", done.stdout), done.stdout
    if os.getloadavg()[0] < 4:  # a busy machine says nothing about the time
        assert total < LIMIT_S, seconds


def test_the_cost_of_the_papers_rows_follows_from_the_time_of_a_step():
    """hours = steps x ms; GPU-hours = 8 x hours; cores = clips per second / 85."""
    text = (ROOT / "docs" / "paper_table.md").read_text(encoding="utf-8")
    steps = 150 * 240_000 // 64
    assert f"{steps:,} in 150 epochs" in text
    number = r"([\d.]+)"
    rows = re.findall(rf"\| {number} to {number} ms \| {number} to {number} h \| (\d+) to (\d+) \| (\d+) \|", text)
    assert len(rows) == 5
    for row in rows:
        low_ms, high_ms, low_h, high_h, low_gpu, high_gpu, cores = map(float, row)
        for ms, hours, gpu_hours in ((low_ms, low_h, low_gpu), (high_ms, high_h, high_gpu)):
            assert hours == pytest.approx(steps * ms / 3.6e6, abs=0.1)
            assert gpu_hours == pytest.approx(8 * hours, abs=1)
        assert cores == pytest.approx(64 / low_ms * 1000 / 85, abs=1)
    low, high = (sum(float(row[index]) for row in rows) for index in (2, 3))
    assert f"{low:.0f} to {high:.0f} hours" in text


def test_the_sweep_of_the_kinetics_guide_can_be_read(tmp_path, monkeypatch):
    from gcvideo.sweep.file import read_sweep
    from gcvideo.sweep.statistics import seeds_needed

    guide = (ROOT / "docs" / "kinetics.md").read_text(encoding="utf-8")
    file = tmp_path / "sweep.yaml"
    file.write_text(re.search(r"```yaml\n(name: .*?)```", guide, re.DOTALL)[1])
    monkeypatch.chdir(ROOT)
    sweep = read_sweep(str(file))
    assert len(sweep.seeds) >= seeds_needed(len(sweep.variants) - 1)


def test_the_modules_of_the_drawing_exist():
    """In docs/inside.md: files and folders of gcvideo/, as they are written at the left."""
    drawing = re.search(r"```text\n(.*?)```", (ROOT / "docs" / "inside.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    names = re.findall(r"\b((?:[a-z_]+/)+(?:[a-z_]+\.py)?|[a-z_]+\.py)", drawing)
    assert len(names) >= 20
    for name in names:
        assert (ROOT / "gcvideo" / name).exists(), name


def test_every_recipe_has_a_model_card():
    cards = (ROOT / "docs" / "model_cards.md").read_text(encoding="utf-8")
    for path in (ROOT / "configs").rglob("*.yaml"):
        if path.parent.name != "sweeps":
            assert f"`{path.relative_to(ROOT / 'configs')}`" in cards, path


def test_verbs_named_in_the_texts_exist():
    for path in (*GUIDES, *(ROOT / name for name in ("docs/features.md", "docs/inside.md", "CHANGELOG.md"))):
        for verb in re.findall(r"`gcvideo ([a-z]+)", path.read_text(encoding="utf-8")):
            assert verb in (*TRAINING_VERBS, "doctor", *VERBS), f"{path.name}: {verb}"
