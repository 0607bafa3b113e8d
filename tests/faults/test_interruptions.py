"""A training that is killed again and again, each time resumed by the same command, ends as if nothing had happened."""

import random
import signal
import time

import pytest
import torch

from tests.faults.runs import end, finished, gcvideo, gone, wait_for

pytestmark = pytest.mark.slow

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
EPOCHS_PER_KILL = 14  # 4 steps each: about a second and a half of training


def differences(one, other):
    """Names of what differs between two checkpoints: weights, momentum, generators, position."""
    found = [name for name, value in one["state_dict"].items() if not torch.equal(value, other["state_dict"][name])]
    states, others = one["optimizer_states"][0]["state"], other["optimizer_states"][0]["state"]
    found += [n for n in states if not torch.equal(states[n]["momentum_buffer"], others[n]["momentum_buffer"])]
    found += [key for key in ("global_step", "VideoDataModule") if one[key] != other[key]]
    for rank, (mine, theirs) in enumerate(zip(one["random_states"], other["random_states"], strict=True)):
        found += [f"generator of rank {rank}"] if not torch.equal(mine["torch"], theirs["torch"]) else []
    return found


def stop_somewhere(process, folder, signum, chance):
    """Send a signal at a random moment: mostly in the training, at times while it starts."""
    last = folder / "run" / "checkpoints" / "last.ckpt"
    before = last.stat().st_mtime_ns if last.exists() else 0
    if chance.random() < 0.85:
        wait_for(lambda: last.exists() and last.stat().st_mtime_ns != before, process)
        time.sleep(chance.uniform(0, 2))
    else:
        time.sleep(chance.uniform(0, 6))
    if process.poll() is None:
        process.send_signal(signum)


@pytest.mark.parametrize("ranks", (1, 2))
@pytest.mark.parametrize("workers", (0, 2))
def test_killed_and_resumed(ranks, workers, synthetic, tmp_path, faults, request):
    kills = int(request.config.getoption("--kills", default=None) or 4)
    options = (
        "--data.manifest", synthetic, "--trainer.max_epochs", kills * EPOCHS_PER_KILL, "--data.num_workers", workers,
        "--trainer.devices", ranks, "--trainer.check_val_every_n_epoch", 5, "--trainer.logger", "false",
        "--save_every_minutes", 0.005, "--ckpt_path", "auto",
    )  # fmt: skip
    where, chance = f"{ranks} rank(s), {workers} worker(s)", random.Random(100 * ranks + workers)
    whole = tmp_path / "whole"
    whole.mkdir()
    assert finished("fit", whole, *options) == 0, (whole / "log.txt").read_text()[-3000:]
    expected = f"weights, optimizer, predictions bit-identical; {where}"
    with faults("interruptions", "KILL, TERM, INT or USR1 in a training", expected=expected, injected=kills) as fault:
        statuses = []
        for number in range(kills):
            process = gcvideo("fit", tmp_path, *options)
            try:
                signum = SIGNALS[number % len(SIGNALS)]
                stop_somewhere(process, tmp_path, signum, chance)
                assert gone(process, 60), f"left after {signum.name}"
                # As the shell counts: a process that dies of a signal, and one that saves its state first.
                assert abs(process.returncode) % 128 in (0, signum), process.returncode
                statuses.append(process.returncode)
            finally:
                end(process)
        assert finished("fit", tmp_path, *options) == 0, (tmp_path / "log.txt").read_text()[-3000:]
        for name in ("last.ckpt", "best.ckpt"):
            paths = [folder / "run" / "checkpoints" / name for folder in (tmp_path, whole)]
            assert differences(*(torch.load(path, weights_only=True) for path in paths)) == [], name
        generators = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["random_states"]
        assert (
            len({bytes(state["torch"].tolist()) for state in generators}) == ranks
        )  # no two ranks drop the same units
        assert not list((tmp_path / "run").rglob("*.part"))
        test = ("--data.manifest", synthetic, "--trainer.logger", "false")
        assert finished("test", tmp_path, *test) == finished("test", whole, *test) == 0
        tables = [(folder / "run" / "predictions.csv").read_bytes() for folder in (tmp_path, whole)]
        assert tables[0] == tables[1]
        fault.observed = f"{sum(status != 0 for status in statuses)} stopped a running process; all bit-identical"
