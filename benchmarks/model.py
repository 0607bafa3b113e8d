"""Time and memory of our networks next to pytorchvideo's `slow_r50`: inference, and a training step.

    python -m benchmarks.model [--threads 1 2] [--precision 32 bf16] [--layouts contiguous channels-last] [--json FILE]
    python -m benchmarks.model --device cuda --batch 8 --precision 32 bf16 --blocks none nl5 snl5 gc5 gc_all [--compile]

A training step is the forward and backward pass and the update of SGD with momentum; bf16 is autocast, as with
`--trainer.precision bf16-mixed`. Clips have 8 frames of 224 x 224. Ratios are to pytorchvideo's network as its users
run it, in float32 and contiguous memory; the second peer is the same network in the precision of the row.
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pytorchvideo.models.hub import slow_r50
from torch import Tensor, nn

from benchmarks.measuring import FORMATS, machine, medians, write
from gcvideo import create_model, fuse

PEER = "pytorchvideo slow_r50"


class Subject:
    """A network as it is run: on a device, in a memory format and a precision."""

    def __init__(self, net: nn.Module, layout: str, precision: str, args: argparse.Namespace):
        memory_format = FORMATS[layout]
        self.device, self.precision, self.compile = args.device, precision, args.compile
        self.net = net.to(args.device).to(memory_format=memory_format)
        self.fused: nn.Module | None = None
        clips = torch.randn(args.batch, 3, args.frames, args.size, args.size, device=args.device)
        self.clips = clips.to(memory_format=memory_format)
        self.labels = torch.zeros(args.batch, dtype=torch.long, device=args.device)
        self.optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
        if self.compile:
            self.net.compile()

    def precision_of_run(self) -> AbstractContextManager[Any]:
        """Autocast, or nothing."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def train(self) -> None:
        """A training step."""
        self.net.train()
        with self.precision_of_run():
            loss = F.cross_entropy(self.net(self.clips), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def infer(self, fused: bool) -> Tensor:
        """Logits."""
        net = self.net.eval()
        if fused:
            if self.fused is None:
                self.fused = fuse(self.net)
                if self.compile:
                    self.fused.compile()
            net = self.fused
        with torch.no_grad(), self.precision_of_run():
            return net(self.clips)

    def peak_mib(self) -> float | None:
        """Of a training step, on a GPU."""
        if self.device != "cuda":
            return None
        self.train()
        self.optimizer.zero_grad()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        self.train()
        return (torch.cuda.max_memory_allocated() - before) / 2**20


def awake(net: nn.Module) -> nn.Module:
    """With nothing zero that starts at zero, so that no product is trivial."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.constant_(module.weight, 0.5)
    return net


def subjects(args: argparse.Namespace, precision: str) -> dict[str, Subject]:
    """Name -> what is measured."""
    found = {PEER: Subject(slow_r50(pretrained=False), "contiguous", "32", args)}
    if precision != "32":
        found[f"{PEER}, {precision}"] = Subject(slow_r50(pretrained=False), "contiguous", precision, args)
    for layout in args.layouts:
        for blocks in args.blocks:
            net = awake(create_model(args.network, blocks))
            found[f"{blocks}, {layout}"] = Subject(net, layout, precision, args)
    return found


def measure(args: argparse.Namespace, precision: str, threads: int) -> list[dict[str, Any]]:
    """A row for each subject."""
    found = subjects(args, precision)
    memory = {name: subject.peak_mib() for name, subject in found.items()}
    ours = {name: subject for name, subject in found.items() if not name.startswith(PEER)}
    # Training first: the steps change running statistics, and a fused copy would no longer be one.
    parts: dict[str, dict[str, Callable[[], object]]] = {
        "train": {name: subject.train for name, subject in found.items()},
        "infer": {name: partial(subject.infer, False) for name, subject in found.items()},
        "fused": {name: partial(subject.infer, True) for name, subject in ours.items()},
    }
    times = {part: medians(functions, args.rounds, args.device) for part, functions in parts.items()}
    rows = []
    for name in found:
        row = {"name": name, "precision": precision, "threads": threads, "peak_mib": memory[name]}
        for part, values in times.items():
            if name in values:
                peer = times["infer" if part == "fused" else part][PEER]
                row |= {f"{part}_ms": values[name], f"{part}_ratio": values[name] / peer}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", choices=("32", "bf16"), nargs="+", default=["32"])
    parser.add_argument("--layouts", choices=tuple(FORMATS), nargs="+", default=list(FORMATS))
    parser.add_argument("--network", default="slowonly_r50")
    parser.add_argument("--blocks", nargs="+", default=["none", "gc_all", "nl5"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="all networks, the peer's too")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print("| network | precision | threads | training step | inference | fused | step, ms | peak, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for threads in args.threads if args.device == "cpu" else args.threads[:1]:
        torch.set_num_threads(threads)
        for precision in args.precision:
            for row in measure(args, precision, threads):
                rows.append(row)
                fused = f"{row['fused_ratio']:.3f}" if "fused_ratio" in row else ""
                memory = "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
                print(
                    f"| {row['name']} | {precision} | {threads} | {row['train_ratio']:.3f} | {row['infer_ratio']:.3f} "
                    f"| {fused} | {row['train_ms']:.1f} | {memory} |",
                    flush=True,
                )
    print(machine(args.device))
    options = {name: str(value) for name, value in vars(args).items()}
    write(args.json, {"machine": machine(args.device), "options": options, "rows": rows})


if __name__ == "__main__":
    main()
