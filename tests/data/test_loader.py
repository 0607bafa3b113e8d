"""No wait for a batch is without end, and the error names what was read."""

import gc
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from gcvideo.data.batch import collate
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.loader import LoaderError, WatchedLoader
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation
from gcvideo.data.videos import Readings


@pytest.fixture(autouse=True)
def _no_workers_of_other_tests():
    """A loader that another test has left keeps its persistent workers until it is collected."""
    gc.collect()


def data_of(manifest, timeout_s=1.0, **options):
    data = VideoDataModule(
        str(manifest), clip=Clip(2, 1), augment=Augmentation(32, (32, 36)), batch_size=2,
        loading={"timeout_s": timeout_s}, **options,
    )  # fmt: skip
    data.setup("fit")
    return data


def stick(dataset, index):
    """Let the decoder of one video never return."""
    read = dataset._open

    def slow(number, contents):
        reader = read(number, contents)
        if number == index:
            time.sleep(1000)
        return reader

    dataset._open = slow


def test_a_stuck_decoder_is_named(synthetic):
    data = data_of(synthetic, num_workers=2)
    stick(data.datasets["fit"], 5)
    start = time.monotonic()
    with pytest.raises(LoaderError, match=r"^no batch for 1 s \(data.loading.timeout_s\): .*is reading ") as error:
        list(data.train_dataloader())
    assert time.monotonic() - start < 8
    assert data.datasets["fit"].videos[5].file in str(error.value)
    assert all_ended()


@pytest.mark.parametrize("stop_at", (0, 2))
def test_stopped_workers(synthetic, stop_at):
    """At 0 nothing is loaded yet; at 2, batches lie in the memory of the workers and can't be fetched."""
    loader = data_of(synthetic, num_workers=2).train_dataloader()
    iterator = iter(loader)
    for _ in range(stop_at):
        next(iterator)
    if stop_at:
        time.sleep(1)  # the queue fills
    for pid in children():
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(LoaderError, match=r"loader process \d+ \(stopped\)"):
        list(iterator)
    assert time.monotonic() - start < 8
    assert all_ended()


def test_a_killed_worker(synthetic):
    data = data_of(synthetic, num_workers=1, timeout_s=60)
    stick(data.datasets["fit"], 5)
    iterator = iter(data.train_dataloader())
    readings = data.datasets["fit"].readings
    file = data.datasets["fit"].videos[5].file
    while readings.file() != file:
        next(iterator)
        time.sleep(0.2)
    os.kill(children()[0], signal.SIGKILL)
    with pytest.raises(LoaderError) as error:
        list(iterator)
    assert re.fullmatch(
        rf"loader process \d+ was killed \(SIGKILL\) while reading {file}: often because memory is short, "
        r"then fewer data.num_workers help", str(error.value),
    )  # fmt: skip


@pytest.mark.slow
def test_the_second_epoch_waits_for_its_workers_no_longer(synthetic):
    """Persistent workers answer before an epoch begins."""
    loader = data_of(synthetic, num_workers=1).train_dataloader()
    assert len(list(loader)) == 6
    os.kill(children()[0], signal.SIGSTOP)
    with pytest.raises(LoaderError, match=r"\(stopped\) is idle"):
        iter(loader)


def test_no_limit_and_no_workers(synthetic):
    """0 waits for ever. Without workers a library must not end the process."""
    for options in ({"timeout_s": 0.0, "num_workers": 1}, {"timeout_s": 0.1, "num_workers": 0}):
        data = data_of(synthetic, **options)
        dataset = data.datasets["fit"]
        read = dataset._open
        dataset._open = lambda *args, read=read: time.sleep(0.5) or read(*args)
        assert next(iter(data.train_dataloader())) is not None


SCRIPT = """
import sys, time
from gcvideo import processes
from tests.data.test_loader import data_of, stick
processes.may_end = True
data = data_of(sys.argv[1], num_workers=0)
stick(data.datasets["fit"], 5)
list(data.train_dataloader())
"""


@pytest.mark.slow
def test_a_command_ends_without_workers_too(synthetic):
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(synthetic)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: no batch for 1 s \(data.loading.timeout_s\): this process is reading \S+\.mp4", done.stderr.strip()
    )


def test_readings(synthetic):
    data = data_of(synthetic)
    dataset = data.datasets["fit"]
    readings = Readings(dataset.videos)
    assert readings.file() is None
    readings.begin(3)
    assert readings.file() == dataset.videos[3].file
    readings.end()
    assert readings.file() is None
    dataset[0], data.datasets["validate"][0]
    assert dataset.readings.file() is data.datasets["validate"].readings.file() is None


def test_a_loader_that_lightning_makes_anew_keeps_its_limit(synthetic):
    from pytorch_lightning.utilities.data import _update_dataloader

    loader = data_of(synthetic, num_workers=0).train_dataloader()
    again = _update_dataloader(loader, torch.utils.data.SequentialSampler(loader.dataset))
    assert type(again) is WatchedLoader
    assert (again.limit_s, again.readings, again.collate_fn) == (1.0, loader.readings, collate)


def children():
    return [process.pid for process in multiprocessing.active_children()]


def all_ended():
    """They are killed one after the other, and the main thread goes on at the first."""
    limit = time.monotonic() + 3
    while children() and time.monotonic() < limit:
        time.sleep(0.05)
    return not children()
