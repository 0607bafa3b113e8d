"""Time of the GC block and its relatives, next to a copy of the input and to the algorithm of the official code.

    python -m benchmarks.block [--threads 1 2] [--device cpu] [--dtype float32] [--compile] [--json FILE]

The official algorithm, here on the same parameters: 1 x 1 x 1 convolutions, a softmax over [B, 1, N], a product of
[B, 1, C, N] and [B, 1, N, 1]. All figures are ratios to `x.clone()` in the same run, but for the first column.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measuring import FORMATS, machine, medians, write
from gcvideo import ContextBlock3d, SimplifiedNonLocal3d, SqueezeExcitation3d

SHAPES = ((512, 8, 28, 28), (1024, 8, 14, 14), (2048, 8, 7, 7))  # res3, res4 and res5 of an 8 x 8 network at 224 pixels


def official(block: ContextBlock3d, x: Tensor) -> Tensor:
    """The block as the official code computes it, with torch's own layers."""

    def convolve(name: str, x: Tensor) -> Tensor:
        layer = block.get_submodule(name)
        return F.conv3d(x, layer.weight, layer.bias)  # type: ignore[arg-type]

    attention = convolve("conv_mask", x).view(len(x), 1, -1).softmax(dim=2)  # [B, 1, N]
    context = x.reshape(len(x), 1, x.shape[1], -1) @ attention[..., None]  # [B, 1, C, 1]
    hidden = convolve("channel_add_conv.0", context.view(len(x), x.shape[1], 1, 1, 1))
    norm, shape = block.get_submodule("channel_add_conv.1"), (block.planes, 1, 1, 1)
    hidden = F.layer_norm(hidden, shape, norm.weight.view(shape), norm.bias.view(shape))  # type: ignore[operator]
    return x + convolve("channel_add_conv.3", hidden.relu())


def step(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> None:
    """Forward and backward."""
    x.grad = None
    function(x).backward(grad)


def measure(shape: tuple[int, ...], layout: str, args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of a copy; of the others, forward and forward + backward, as ratios to it."""
    torch.manual_seed(0)
    dtype = getattr(torch, args.dtype)
    options = {"device": args.device, "dtype": dtype}
    memory_format = FORMATS[layout]
    blocks = {
        "gc": ContextBlock3d(shape[0]),
        "snl": SimplifiedNonLocal3d(shape[0]),
        "se": SqueezeExcitation3d(shape[0]),
    }
    for block in blocks.values():
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.02)
        block.to(**options).to(memory_format=memory_format)
    compute: dict[str, Callable[[Tensor], Tensor]] = {"official": partial(official, blocks["gc"]), **blocks}
    if args.compile:
        compute = {name: torch.compile(function, dynamic=False) for name, function in compute.items()}
    x, grad = (torch.randn(args.batch, *shape, **options).to(memory_format=memory_format) for _ in range(2))
    learns = x.clone().requires_grad_()
    difference = (compute["gc"](x) - compute["official"](x)).norm() / compute["official"](x).norm()
    assert difference < (1e-5 if dtype == torch.float32 else 2e-2), f"gc and official differ by {difference:.1e}"

    def forward(function: Callable[[Tensor], Tensor]) -> None:
        with torch.no_grad():
            function(x)

    runs: dict[str, Callable[[], object]] = {"copy": x.clone}
    for name, function in compute.items():
        runs[f"{name} forward"] = partial(forward, function)
        runs[f"{name} step"] = partial(step, function, learns, grad)
    times = medians(runs, args.rounds, args.device)
    return {"copy_ms": times["copy"]} | {name: ms / times["copy"] for name, ms in times.items() if name != "copy"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    columns = [f"{name} {part}" for name in ("gc", "official", "snl", "se") for part in ("forward", "step")]
    print(f"| input | layout | threads | copy, ms | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 4) + "|")
    rows = []
    for threads in args.threads if args.device == "cpu" else [1]:
        torch.set_num_threads(threads)
        for shape in SHAPES:
            for layout in FORMATS:
                row = measure(shape, layout, args)
                rows.append({"shape": [args.batch, *shape], "layout": layout, "threads": threads, **row})
                size = "x".join(map(str, shape))
                figures = " | ".join(f"{row[name]:.1f}" for name in columns)
                print(f"| {size} | {layout} | {threads} | {row['copy_ms']:.3f} | {figures} |", flush=True)
    print(machine(args.device))
    write(args.json, {"machine": machine(args.device), "dtype": args.dtype, "compile": args.compile, "rows": rows})


if __name__ == "__main__":
    main()
