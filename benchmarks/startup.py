"""What it costs to start: CPU and wall seconds of whole commands, each in a process of its own.

    python -m benchmarks.startup [--rounds 5] [--other ../before] [--json startup.json]

`fit` trains a tiny network for one step on 12 small synthetic videos, and `test` evaluates it on 6: most of both is
start and end, and of `test` the report. Their peer is `import torch, pytorch_lightning`, from which any training with
Lightning starts. --other is a second checkout, such as a `git worktree` of an earlier commit. The commands follow one
another in every round, in the order AB, BA, AB, ... of the checkouts; a result is the median over the rounds. CPU
seconds are user and system time of the process and its children. Check the load of the machine first all the same.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from gcvideo.dataset_tools.synthetic import write_dataset

FIT = (
    "-m gcvideo fit --data.manifest MANIFEST --model.network slowonly_tiny --model.blocks gc_all --data.clip.frames 4 "
    "--data.clip.stride 1 --data.augment.size 32 --data.augment.short_side [32,36] --data.batch_size 3 "
    "--data.num_workers 0 --trainer.max_steps 1 --trainer.accelerator cpu --trainer.enable_progress_bar false "
    "--trainer.enable_model_summary false"
)
COMMANDS = {
    "peer: import torch, pytorch_lightning": ["-c", "import torch, pytorch_lightning"],
    "import gcvideo": ["-c", "import gcvideo"],
    "gcvideo --help": ["-m", "gcvideo", "--help"],
    "gcvideo fit --help": ["-m", "gcvideo", "fit", "--help"],
    "gcvideo fit, one step": FIT.split(),
    "gcvideo test": ["-m", "gcvideo", "test", "--ckpt_path", "last", "--trainer.accelerator", "cpu"],
}
"""Name -> arguments of Python. They run in one folder, one after the other: `test` evaluates what `fit` has trained."""


class Cost(NamedTuple):
    """Seconds of one command: user and system time, and of the clock."""

    cpu_s: float
    wall_s: float


def measure(arguments: list[str], checkout: Path, folder: Path) -> Cost:
    """Run Python with the package of a checkout.

    Raises:
        SystemExit: the command failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=folder)
    ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}:\n{done.stderr[-2000:]}")
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended - began)


def measure_rounds(checkouts: dict[str, Path], rounds: int) -> dict[str, dict[str, list[Cost]]]:
    """Command -> checkout -> its cost in each round."""
    costs: dict[str, dict[str, list[Cost]]] = {name: {label: [] for label in checkouts} for name in COMMANDS}
    with tempfile.TemporaryDirectory() as temporary:
        manifest = write_dataset(f"{temporary}/data", {"train": 12, "val": 6, "test": 6}, num_frames=20, workers=1)
        for number in range(-1, rounds):  # the first only fills the disk's cache
            for label in sorted(checkouts, reverse=bool(number % 2)):
                folder = Path(temporary, f"{label} {number}")
                folder.mkdir()
                for name, arguments in COMMANDS.items():
                    filled = [str(manifest) if argument == "MANIFEST" else argument for argument in arguments]
                    cost = measure(filled, checkouts[label], folder)
                    if number >= 0:
                        costs[name][label].append(cost)
    return costs


def median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def print_table(costs: dict[str, dict[str, list[Cost]]]) -> None:
    """A line for each command: median CPU and wall seconds in each checkout, and the ratio of the CPU seconds."""
    labels = list(next(iter(costs.values())))
    print(f"{'':38}" + "".join(f"{f'{label}: CPU s':>14}{'wall s':>8}" for label in labels))
    for name, of in costs.items():
        medians = [median(of[label]) for label in labels]
        line = f"{name:38}" + "".join(f"{cost.cpu_s:14.2f}{cost.wall_s:8.2f}" for cost in medians)
        print(line + (f"   ratio {medians[0].cpu_s / medians[1].cpu_s:.2f}" if len(labels) == 2 else ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", type=Path, help="another checkout to compare with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    args = parser.parse_args()
    checkouts = {"here": Path(__file__).parents[1]}
    if args.other:
        checkouts["other"] = args.other.resolve()
    load = os.getloadavg()[0]
    costs = measure_rounds(checkouts, args.rounds)
    print_table(costs)
    versions = {name: version(name) for name in ("torch", "pytorch-lightning", "jsonargparse")}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{machine}, {listed}; {args.rounds} rounds, load {load:.1f} before")
    if args.json:
        result = {"machine": machine, "versions": versions, "load": load, "seconds": costs}
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
