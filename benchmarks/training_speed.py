"""Time of a training step in two checkouts of the project, interleaved.

    python -m benchmarks.training_speed OTHER MANIFEST --rounds 5 --threads 2 -- --model.network slowonly_tiny ...

OTHER is a second checkout, such as a `git worktree` of an earlier commit; what follows `--` are options of `fit`. Each
round trains once in each checkout, in the order AB, BA, AB, ...; a round's time is the median of its steps, and the
result the median over the rounds. Check the load of the machine first: other work falls on both, but not evenly.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

SKIPPED = 5  # steps in which caches and memory pools fill


class StepTimes(pl.Callback):
    """Prints the seconds from the end of each step to the end of the next; none across a validation."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.ends.clear()

    def on_train_batch_end(self, *_: Any) -> None:
        now = time.perf_counter()
        if self.ends:
            self.seconds.append(now - self.ends[-1])
        self.ends.append(now)

    def on_train_end(self, *_: Any) -> None:
        print("STEPS " + json.dumps(self.seconds), flush=True)


def measure(checkout: Path, manifest: str, threads: int, options: list[str]) -> float:
    """Median seconds of a step of a training in a checkout."""
    with tempfile.TemporaryDirectory() as runs:
        command = [
            sys.executable, "-m", "gcvideo", "fit", "--data.manifest", manifest, "--runs_dir", runs,
            "--trainer.callbacks+=benchmarks.training_speed.StepTimes",
            "--trainer.enable_progress_bar", "false", *options,
        ]  # fmt: skip
        path = f"{checkout}:{Path(__file__).parents[1]}"
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=runs)
    lines = [line for line in done.stdout.splitlines() if line.startswith("STEPS ")]
    if done.returncode or not lines:
        raise SystemExit(done.stderr[-2000:])
    return statistics.median(json.loads(lines[0].removeprefix("STEPS "))[SKIPPED:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("manifest")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    # argparse knows no arguments that are meant for another program.
    own, _, options = " ".join(sys.argv[1:]).partition(" -- ")
    args = parser.parse_args(own.split())
    checkouts = {"here": Path(__file__).parents[1], "other": args.other.resolve()}
    seconds: dict[str, list[float]] = {name: [] for name in checkouts}
    for number in range(args.rounds):
        for name in sorted(checkouts, reverse=bool(number % 2)):
            seconds[name].append(
                measure(checkouts[name], str(Path(args.manifest).resolve()), args.threads, options.split())
            )
            print(f"{name}: {1000 * seconds[name][-1]:.2f} ms a step", flush=True)
    here, other = (statistics.median(seconds[name]) for name in ("here", "other"))
    ratios = [a / b for a, b in zip(seconds["here"], seconds["other"], strict=True)]
    each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"here {1000 * here:.2f} ms, other {1000 * other:.2f} ms; ratio {here / other:.3f} (rounds: {each})")
    print(f"load {os.getloadavg()[0]:.1f}, {args.threads} thread(s)")


if __name__ == "__main__":
    main()
