"""Sweeps: no result of a run that was not finished, no process that outlives its sweep, and no work done twice."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from gcvideo.errors import UsageError
from gcvideo.fit_marker import NAME, finished_checkpoint, write_fit_marker
from gcvideo.locking import locked
from gcvideo.sweep import run as run_module
from gcvideo.sweep.execute import LOCK
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.outcome import FINISHED, read_outcome
from gcvideo.sweep.run import run_sweep
from tests.sweep.written import write_run, write_small_sweep

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "demo.yaml")
VIDEOS = {("a" if number % 2 else "b", f"{number}.mp4"): number % 3 > 0 for number in range(30)}


def damaged(data, count):
    """Copies of a file that are cut short or have a wrong byte, at `count` places each."""
    places = [number * len(data) // count for number in range(count)]
    yield from (data[:place] for place in places)
    yield from (data[:place] + bytes([data[place] ^ 0x15]) + data[place + 1 :] for place in places)


@pytest.mark.parametrize("name", ("report.json", "predictions.csv", FINISHED))
def test_damaged_results(tmp_path, faults, capsys, name):
    """Either the run counts as unfinished, in one line, or the damage is where it changes no result."""
    sweep, run = Sweep("s", CONFIG, {"none": {}}, "none", [0], runs_dir=str(tmp_path)), Run("none", 0)
    write_run(sweep, "none", 0, VIDEOS)
    expected = read_outcome(sweep, run)
    path = sweep.run_folder(run) / name
    good = path.read_bytes()
    with faults("sweeps", f"{name} cut short or altered", expected="not counted as finished", injected=80) as fault:
        refused = 0
        for data in damaged(good, 40):
            path.write_bytes(data)
            outcome, line = read_outcome(sweep, run), capsys.readouterr().out
            assert outcome is None or (outcome == expected and name == FINISHED)
            assert line.count("\n") == (outcome is None)
            refused += outcome is None
        assert refused >= (60 if name == FINISHED else 80)
        fault.observed = f"{refused} refused, {80 - refused} changed no result"


@pytest.mark.parametrize("name", ("checkpoints/best.ckpt", "checkpoints/last.ckpt", NAME))
def test_damaged_checkpoints_are_not_those_of_a_finished_fit(tmp_path, faults, name):
    (tmp_path / "checkpoints").mkdir()
    for checkpoint in ("best.ckpt", "last.ckpt"):
        (tmp_path / "checkpoints" / checkpoint).write_bytes(os.urandom(1000))
    assert finished_checkpoint(tmp_path) is None
    write_fit_marker(tmp_path, {"epochs": 3, "steps": 12})
    expected = finished_checkpoint(tmp_path)
    assert expected is not None
    good = (tmp_path / name).read_bytes()
    with faults("sweeps", f"{name} cut short or altered after the fit", expected="fitted again", injected=80) as fault:
        refused = 0
        for data in damaged(good, 40):
            (tmp_path / name).write_bytes(data)
            assert finished_checkpoint(tmp_path) in ((None, expected) if name == NAME else (None,))
            refused += finished_checkpoint(tmp_path) is None
        assert refused >= (60 if name == NAME else 80)
        fault.observed = f"{refused} refused, {80 - refused} changed no digest"


def test_a_damaged_note_of_settings(tmp_path, faults):
    sweep = Sweep("s", CONFIG, {"none": {}}, "none", [0], runs_dir=str(tmp_path))
    write_run(sweep, "none", 0, VIDEOS)
    note = sweep.run_folder(Run("none", 0)) / "sweep.json"
    good = json.dumps(sweep.arguments(Run("none", 0)), indent=1).encode()
    with faults("sweeps", "sweep.json cut short or altered", expected="refused in one line", injected=80):
        for data in damaged(good, 40):
            note.write_bytes(data)
            with pytest.raises(UsageError) as error:
                run_sweep(sweep)
            assert "\n" not in str(error.value)


class StandIn:
    """A sweep with runs that take 2 s to fit and 1 s to test, as a process."""

    def __init__(self, folder, seeds=(0,), grace_s=20):
        self.file = folder / "s.yaml"
        self.run = folder / "runs" / "s" / "none-seed0"
        content = {"name": "s", "config": CONFIG, "variants": {"none": {}}, "baseline": "none", "seeds": list(seeds)}
        self.file.write_text(yaml.safe_dump({**content, "runs_dir": str(folder / "runs")}))
        self.grace_s = grace_s

    def start(self):
        command = [sys.executable, "-m", "tests.sweep.stand_in", "sweep", str(self.file)]
        command += ["--grace_s", str(self.grace_s)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        )

    def finish(self):
        """The same command again: the run is complete, whatever happened before."""
        sweep = self.start()
        output = sweep.communicate(timeout=120)[0]
        assert sweep.returncode == 0, output
        assert json.loads((self.run / "report.json").read_text()) == {"video_top1": 1.0}
        assert "| none | 1 | 1.000 |" in output
        return output

    def processes(self):
        """Those that work in the folder of the run."""
        return processes_with(str(self.run))


def processes_with(argument):
    """Process ids of the commands that have an argument, without their supervisors."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if argument in command and "gcvideo.sweep.supervisor" not in command:
            found.append(int(entry.name))
    return found


def wait_for(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("signum", (signal.SIGTERM, signal.SIGKILL, signal.SIGINT))
@pytest.mark.parametrize("verb", ("fit", "test"))
def test_a_run_whose_process_is_killed(tmp_path, faults, verb, signum):
    """The process of the run, not the sweep. A fit that SIGTERM stops ends with exit status 0 here."""
    stand_in = StandIn(tmp_path)
    expected = "no result is published; the same command completes the run"
    with faults("sweeps", f"{signum.name} to the {verb} of a run", expected=expected):
        sweep = stand_in.start()
        wait_for((stand_in.run / f"{verb}-started").exists, f"{verb} has started")
        (pid,) = stand_in.processes()
        os.kill(pid, signum)
        output = sweep.communicate(timeout=60)[0]
        assert sweep.returncode == 1
        assert re.search(rf"none-seed0: {verb} (ended before its configured end|was ended by {signum.name}), ", output)
        assert not (stand_in.run.parent / "table.md").exists()
        stand_in.finish()


@pytest.mark.parametrize(
    ("verb", "signum"),
    (
        ("fit", signal.SIGTERM), ("fit", signal.SIGINT), ("fit", signal.SIGHUP), ("fit", signal.SIGUSR1),
        ("fit", signal.SIGKILL), ("test", signal.SIGTERM), ("test", signal.SIGKILL),
    ),
)  # fmt: skip
def test_a_sweep_that_is_killed(tmp_path, faults, verb, signum):
    stand_in = StandIn(tmp_path)
    with faults("sweeps", f"{signum.name} to a sweep during {verb}", expected="no process is left; it resumes"):
        sweep = stand_in.start()
        wait_for((stand_in.run / f"{verb}-started").exists, f"{verb} has started")
        os.kill(sweep.pid, signum)
        output = sweep.communicate(timeout=60)[0]
        if signum == signal.SIGKILL:
            wait_for(lambda: not stand_in.processes(), "the run has ended")
        else:
            assert sweep.returncode == 128 + signum
            assert f"error: stopped by {signum.name}: 0 of 1 runs are done; the same command resumes\n" in output
            assert not stand_in.processes()
        if verb == "fit":
            assert 0 < int((stand_in.run / "checkpoints" / "last.ckpt").read_text()) < 20  # it has saved its state
        stand_in.finish()


def test_two_sweeps_share_their_runs(tmp_path, faults):
    stand_in = StandIn(tmp_path, seeds=(0, 1, 2))
    with faults("sweeps", "two sweeps of one file at once", expected="each run once; both report all", injected=2):
        sweeps = [stand_in.start(), stand_in.start()]
        outputs = [sweep.communicate(timeout=120)[0] for sweep in sweeps]
        assert [sweep.returncode for sweep in sweeps] == [0, 0], outputs
        assert all("| none | 3 | 1.000 |" in output for output in outputs)
        assert any("another process works on it" in output for output in outputs)


@pytest.mark.parametrize("finishes", (True, False))
def test_a_run_that_another_process_works_on(tmp_path, faults, monkeypatch, capsys, finishes):
    """It finishes the run, or gives it up: then this sweep executes it, here with a configuration that fails."""
    monkeypatch.setattr(run_module, "_ELSEWHERE_S", 0.2)
    (tmp_path / "bad.yaml").write_text("model: {learning_rate: 1}")
    sweep = Sweep("s", str(tmp_path / "bad.yaml"), {"none": {}}, "none", [0], runs_dir=str(tmp_path))
    folder = sweep.folder / "none-seed0"
    is_locked = threading.Event()

    def work():
        with locked(folder, LOCK):
            is_locked.set()
            time.sleep(1)
            if finishes:
                write_run(sweep, "none", 0, VIDEOS)

    expected = "its result is read" if finishes else "the run is executed here"
    with faults("sweeps", f"a run is locked, then {'finished' if finishes else 'given up'}", expected=expected):
        other = threading.Thread(target=work)
        other.start()
        is_locked.wait()
        assert run_sweep(sweep) == ([] if finishes else ["none-seed0"])
        other.join()
        output = capsys.readouterr().out
        assert output.count("none-seed0: another process works on it; its result is awaited\n") == 1
        assert ("none-seed0: video_top1 0.667" if finishes else "fit failed (exit status 2), see") in output
        assert "learning_rate" in (folder / "log.txt").read_text() or finishes


def test_a_real_fit_that_is_stopped(tmp_path, faults, synthetic):
    """SIGTERM in the middle of an epoch, to the fit alone, then to the sweep: no result, and no process is left."""
    file = write_small_sweep(tmp_path, synthetic, max_epochs=500)
    run = tmp_path / "runs" / "s" / "none-seed0"
    fits = f"--runs_dir={run.parent}"
    for session, target in enumerate(("fit", "sweep")):
        with faults("sweeps", f"SIGTERM to the real {target} during an epoch", expected="no result, nothing runs on"):
            process = subprocess.Popen(
                [sys.executable, "-m", "gcvideo", "sweep", str(file)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            wait_for((run / "metrics" / f"version_{session}" / "metrics.csv").exists, "it trains", 120)
            (fit,) = processes_with(fits)
            os.kill(fit if target == "fit" else process.pid, signal.SIGTERM)
            output = process.communicate(timeout=120)[0]
            assert process.returncode == (1 if target == "fit" else 143), output
            assert not processes_with(fits)
            assert not (run / "report.json").exists()
            assert not (run / NAME).exists()
            assert "top1" not in output
