"""Checkpoints under fire: killed writers, full disks, damaged and foreign files."""

import os
import random
import resource
import signal
import tempfile
import time
from pathlib import Path

import pytest
import torch

from gcvideo.cli.checkpoints import checkpoint_to_resume
from gcvideo.errors import GcvideoError
from gcvideo.files import link, remove_partial
from gcvideo.training.checkpoint import load_task, read_settings
from gcvideo.training.checkpoint_io import SafeCheckpointIO

pytestmark = pytest.mark.slow

IO = SafeCheckpointIO()
ELEMENTS = 2_000_000  # 8 MB: a save takes some milliseconds


def in_a_child(work):
    """Run a function in a forked process; its id."""
    pid = os.fork()
    if pid == 0:
        try:
            torch.set_num_threads(1)  # a pool of threads does not survive a fork
            work()
        finally:
            os._exit(0)
    return pid


def save_for_ever(folder):
    """As a training does: each state replaces the one before, which stays as previous.ckpt."""
    weights = torch.zeros(ELEMENTS)
    step = 0
    while True:
        step += 1
        weights.fill_(step)
        link(folder / "last.ckpt", folder / "previous.ckpt")
        IO.save_checkpoint({"state_dict": {"w": weights}, "global_step": step}, folder / "last.ckpt")


@pytest.mark.parametrize("system", ("the same", "another"))
def test_a_writer_that_is_killed(system, tmp_path, faults, monkeypatch):
    temporary = Path(tempfile.mkdtemp(dir="/dev/shm" if system == "another" else tmp_path))
    monkeypatch.setenv("TMPDIR", str(temporary))
    chance, loaded = random.Random(0), 0
    injection = f"SIGKILL during a save, TMPDIR on {system} file system"
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    folder = tmp_path / "run" / "checkpoints"
    with faults("checkpoints", injection, expected="a whole last.ckpt, no file left", injected=50) as fault:
        for _ in range(50):
            pid = in_a_child(lambda: save_for_ever(folder))
            while not (folder / "last.ckpt").exists():
                time.sleep(0.001)
            time.sleep(chance.uniform(0.02, 0.12))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            state = IO.load_checkpoint(checkpoint_to_resume(tmp_path / "run", "auto", True))
            assert (state["state_dict"]["w"] == state["global_step"]).all()
            remove_partial(folder)  # as the next start does
            assert {path.name for path in folder.iterdir()} <= {"last.ckpt", "previous.ckpt"}
            assert list(temporary.iterdir()) == []
            loaded += 1
        fault.observed = f"{loaded} of 50 loaded; 0 files left"
    temporary.rmdir()


def small(path):
    IO.save_checkpoint({"state_dict": {"w": torch.arange(600.0)}, "hyper_parameters": {"a": 1}, "global_step": 3}, path)
    return path.read_bytes()


def test_damaged_bytes(tmp_path, faults):
    whole = small(tmp_path / "a.ckpt")
    chance, found = random.Random(1), 0
    with faults("checkpoints", "flipped bit", expected="an error, or the same tensors", injected=300) as fault:
        for _ in range(300):
            data = bytearray(whole)
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            found += not same_or_told(tmp_path / "b.ckpt", bytes(data))
        fault.observed = f"{found} told in one line, {300 - found} in bytes without meaning"
    with faults("checkpoints", "cut short", expected="an error", injected=100) as fault:
        for _ in range(100):
            assert not same_or_told(tmp_path / "b.ckpt", whole[: chance.randrange(len(whole))])
    with faults("checkpoints", "another kind of file", expected="an error", injected=5) as fault:
        for data in (b"", b"<html>404</html>", os.urandom(5000), b"PK\x03\x04" + os.urandom(500), b"\x80\x02}q\x00."):
            assert not same_or_told(tmp_path / "b.ckpt", data)
    with faults("checkpoints", "bytes replaced by zeros", expected="an error", injected=50) as fault:
        for _ in range(50):
            data, start = bytearray(whole), chance.randrange(len(whole) - 200)
            data[start : start + 200] = bytes(200)
            same_or_told(tmp_path / "b.ckpt", bytes(data))


def told(reader, path):
    """The message of an error that is told in one line; "" without one."""
    try:
        reader(path)
    except GcvideoError as error:
        return str(error) if "\n" not in str(error) else f"{error} has several lines"
    return ""


def same_or_told(path, data):
    """Whether a file loads, and then as it was written; else every reader must say so in one line."""
    path.write_bytes(data)
    message = told(IO.load_checkpoint, path)
    assert "several lines" not in message
    if message:
        for reader in (load_task, read_settings, lambda path: checkpoint_to_resume(path.parent, str(path), False)):
            assert "several lines" not in told(reader, path)
        return False
    state = IO.load_checkpoint(path)
    assert torch.equal(state["state_dict"]["w"], torch.arange(600.0))
    assert state["global_step"] == 3
    return True


def test_a_disk_that_is_full(tmp_path, faults):
    """A limit on the size of files stands for it: the write fails in the middle."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    before = small(folder / "last.ckpt")

    def fail():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            IO.save_checkpoint({"state_dict": {"w": torch.zeros(ELEMENTS)}}, folder / "last.ckpt")
        except GcvideoError as error:
            (tmp_path / "told").write_text(str(error))

    with faults("checkpoints", "disk full during a save", expected="told with the free space, old file kept") as fault:
        os.waitpid(in_a_child(fail), 0)
        fault.observed = (tmp_path / "told").read_text().partition(": ")[2]
        assert "MiB free" in fault.observed
        assert (folder / "last.ckpt").read_bytes() == before
        assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
