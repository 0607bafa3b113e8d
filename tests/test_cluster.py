"""On a cluster of processes: the same results as on one machine, whatever happens to the workers."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from gcvideo import cluster as cluster_module
from gcvideo.cli.main import main
from gcvideo.cluster import ClusterError, LostJobError, connect
from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.pool import NoResult, open_pool, run_all
from gcvideo.locking import LockedError, locked
from gcvideo.sweep.execute import LOCK
from tests.conftest import numbered_frames
from tests.local_cluster import end_the_worker, local_cluster, starts, work
from tests.sweep.written import write_small_sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workers():
    with local_cluster() as (address, pids):
        yield address, pids


def test_time_limits_and_dying_jobs(tmp_path, workers):
    address, pids = workers
    before = sorted(pids())
    jobs = [(str(tmp_path), name) for name in ("a", "hang", "b", "kill", "c")]
    with open_pool(1, address, tmp_path) as pool:
        answers = {name: answer for (_, name), answer in run_all(work, jobs, pool, timeout_s=3)}
    assert answers["hang"] == NoResult("took longer than 3 s")
    assert answers["kill"] == NoResult("ended its process (exit code -9)")
    assert len(starts(tmp_path, "kill")) == 2
    assert [answers[name][0] for name in "abc"] == ["a", "b", "c"]
    assert not {answers[name][1] for name in "abc"} & {*before, os.getpid()}  # in children of the workers
    assert sorted(pids()) == before


def test_a_job_is_run_again_when_its_worker_dies(tmp_path, workers):
    address, pids = workers
    jobs = [(str(tmp_path), name) for name in ("slow", "a", "b", "c", "d", "e")]
    with open_pool(1, address, tmp_path) as pool:
        results = run_all(work, jobs, pool, timeout_s=60)
        answers = [next(results)]  # a quick one: "slow" is running
        (worker,) = starts(tmp_path, "slow")
        os.kill(worker, signal.SIGKILL)
        answers += results
    assert sorted(answer[0] for _, answer in answers) == ["a", "b", "c", "d", "e", "slow"]
    assert len(starts(tmp_path, "slow")) == 2
    assert worker not in pids()


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Twelve videos of two classes, one of them broken."""
    folder = tmp_path_factory.mktemp("raw")
    for number in range(12):
        path = folder / "train" / ("run" if number % 2 else "walk") / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, numbered_frames(40 + number, 240, 320))
    (folder / "train" / "run" / "1.mp4").write_bytes(b"<html>")
    return folder


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".prepare" not in path.parts
    }


def test_prepare_and_check_write_the_same_files(tmp_path, raw, workers, monkeypatch):
    """With relative paths; a worker is killed half-way through."""
    address, pids = workers
    monkeypatch.chdir(tmp_path)
    shutil.copytree(raw, "raw")
    settings = ["--short_side", "96", "--preset", "veryfast"]
    assert main(["prepare", "raw", "local", *settings, "--workers", "2"]) == 1  # one video is broken
    journal = tmp_path / "far" / ".prepare" / "1-of-1.jsonl"
    killed = kill_when(lambda: journal.exists() and journal.read_text(), pids)
    assert main(["prepare", "raw", "far", *settings, "--scheduler", address]) == 1
    assert killed()
    assert files_of(tmp_path / "far") == files_of(tmp_path / "local")
    assert len(files_of(tmp_path / "far")) == 11 + 4
    assert main(["check", "local/manifest.csv", "--root", "local", "--out", "a", "--workers", "2"]) == 0
    assert main(["check", "local/manifest.csv", "--root", "far", "--out", "b", "--scheduler", address]) == 0
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def kill_when(condition, pids):
    """Kill all workers once a condition holds; returns a function that waits for it."""

    def kill():
        while not condition():
            time.sleep(0.01)
        for pid in pids():
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()

    def killed():
        thread.join(30)
        return not thread.is_alive()

    return killed


def test_a_folder_that_is_not_shared_and_another_version(tmp_path, workers, monkeypatch):
    address, _ = workers
    with (
        pytest.raises(ClusterError, match=r"does not see the folder .*gone: it must be shared"),
        open_pool(1, address, tmp_path / "gone") as pool,
    ):
        list(run_all(work, [(str(tmp_path), "a")], pool, 60))
    monkeypatch.setattr(cluster_module, "__version__", "0.0")
    with (
        pytest.raises(ClusterError, match=r"has gcvideo .*, expected 0\.0"),
        open_pool(1, address, tmp_path) as pool,
    ):
        list(run_all(work, [(str(tmp_path), "a")], pool, 60))


def test_a_job_that_kills_every_worker_is_given_up(tmp_path, workers):
    address, _ = workers
    with connect(address, tmp_path) as cluster, pytest.raises(LostJobError, match="ended every worker that tried it"):
        cluster.submit(end_the_worker).result(120)


def test_no_scheduler_and_no_dask(tmp_path, capsys, monkeypatch):
    (tmp_path / "a").mkdir()
    write_video(tmp_path / "a" / "1.mp4", numbered_frames(20))
    monkeypatch.setattr(cluster_module, "_CONNECT_S", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        assert main(["check", str(tmp_path), "--out", str(tmp_path / "out"), "--scheduler", address]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: no scheduler at {address}: ")
        assert error.count("\n") == 1
    assert main(["check", str(tmp_path), "--workers", "2", "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "--workers has no effect with --scheduler" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["check", str(tmp_path), "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err == "error: --scheduler needs dask: pip install 'gcvideo[cluster]'\n"


@pytest.fixture(scope="module")
def wide_workers():
    """So many tasks run at a time on each that a run has one thread, as in the local sweep."""
    with local_cluster(2, threads=os.cpu_count()) as (address, pids):
        yield address, pids


def test_a_sweep_has_the_same_runs(tmp_path, wide_workers, synthetic, monkeypatch):
    """The workers are killed during the fit: it ends, and the run is resumed on another worker."""
    address, pids = wide_workers
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runs = []
    for place in ("local", "far"):
        (tmp_path / place).mkdir()
        file = write_small_sweep(tmp_path / place, synthetic, max_epochs=3)
        runs.append(tmp_path / place / "runs" / "s" / "none-seed0")
        if place == "local":
            assert main(["sweep", str(file)]) == 0
            continue
        killed = kill_when((runs[1] / "metrics" / "version_0" / "metrics.csv").exists, pids)
        assert main(["sweep", str(file), "--scheduler", address]) == 0
        assert killed()
    assert (runs[0] / "predictions.csv").read_bytes() == (runs[1] / "predictions.csv").read_bytes()
    states = [torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"] for run in runs]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert len(list((runs[1] / "metrics").iterdir())) > 1  # there was a second fit


def test_a_sweep_on_a_cluster_is_stopped(tmp_path, wide_workers, synthetic):
    """Ctrl-C, then SIGKILL, to the command: the fit on the worker ends."""
    address, _ = wide_workers
    file = write_small_sweep(tmp_path, synthetic, max_epochs=500)
    run = tmp_path / "runs" / "s" / "none-seed0"
    for session, signum in enumerate((signal.SIGINT, signal.SIGKILL)):
        command = [sys.executable, "-m", "gcvideo", "sweep", str(file), "--scheduler", address]
        sweep = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not (run / "metrics" / f"version_{session}" / "metrics.csv").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        sweep.send_signal(signum)
        error = sweep.communicate(timeout=90)[1]
        deadline = time.monotonic() + 120
        if signum == signal.SIGINT:
            assert "error: stopped by SIGINT: 0 of 1 runs are done; the same command resumes\n" in error
            assert sweep.returncode == 130
        else:
            while is_locked(run):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert not is_locked(run)


def is_locked(folder):
    try:
        with locked(folder, LOCK):
            return False
    except LockedError:
        return True


OWN_CLUSTER = """
from tests.local_cluster import end_the_worker, local_cluster, starts, work
from tests.sweep.written import write_small_sweep
if __name__ == "__main__":
    with local_cluster(1) as (address, pids):
        print(address, *pids(), flush=True)
        input()
"""


def test_the_scheduler_dies(tmp_path):
    """The command ends with one line; it does not wait for ever."""
    (tmp_path / "own_cluster.py").write_text(OWN_CLUSTER)
    cluster = subprocess.Popen(
        [sys.executable, tmp_path / "own_cluster.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        address, worker = cluster.stdout.readline().split()
        with open_pool(1, address, tmp_path) as pool:
            results = run_all(work, [(str(tmp_path), name) for name in ("a", "slow", "slow", "b")], pool, 60)
            next(results)
            cluster.kill()
            with pytest.raises(ClusterError, match="the connection to the scheduler is lost"):
                list(results)
    finally:
        cluster.kill()
        cluster.wait()
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{worker}"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
