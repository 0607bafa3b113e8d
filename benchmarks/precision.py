"""How far bfloat16, float16 and folded batch norms change what woken blocks and networks compute.

    python -m benchmarks.precision [--device cuda] [--clips 16] [--json FILE]

Every layer that starts at zero is given weights; running statistics are those of the network's own features. The
reference is float32 without TF32. First a block alone, in bfloat16 and float16 under autocast on normal features: norm
of the change over the norm of what the block adds (z - x). Then the logits of a network: norm of their change over
that of their differences from the mean, and clips whose first class changes. A network with random weights amplifies
rounding more than a trained one: compare the rows, not the values.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measuring import machine, write
from gcvideo import (
    ContextBlock3d,
    NonLocalBlock3d,
    SimplifiedNonLocal3d,
    SqueezeExcitation3d,
    create_model,
    fuse,
    inserted_blocks,
)

SHAPES = ((2048, 8, 7, 7), (1024, 8, 14, 14), (512, 8, 28, 28), (512, 32, 28, 28))
BLOCKS = {"gc": ContextBlock3d, "snl": SimplifiedNonLocal3d, "se": SqueezeExcitation3d, "nl": NonLocalBlock3d}
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def wake(net: nn.Module) -> None:
    """Give weights to what starts at zero."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)


@torch.no_grad()
def run(net: nn.Module, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """One by one, under autocast to `dtype`."""
    with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
        return torch.cat([net(sample[None]) for sample in x]).float()


def block_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The change of z - x."""
    rows = []
    print("| input | " + " | ".join(f"{name}, {dtype}" for name in BLOCKS for dtype in DTYPES) + " |")
    print("|---" * (1 + len(BLOCKS) * len(DTYPES)) + "|")
    for shape in SHAPES[: args.shapes]:
        x = torch.randn(2, *shape, device=args.device).to(memory_format=torch.channels_last_3d)
        row: dict[str, Any] = {"shape": shape}
        for name, make in BLOCKS.items():
            torch.manual_seed(0)
            block = make(shape[0]).to(args.device)
            wake(block)
            block.train()(x)  # running statistics of an NL block
            block.eval()
            for dtype_name, dtype in DTYPES.items():
                rounded = x.to(dtype)
                expected = run(block, rounded.float()) - rounded.float()
                found = run(block, rounded, dtype) - rounded.float()
                row[f"{name}, {dtype_name}"] = float((found - expected).norm() / expected.norm())
        rows.append(row)
        figures = " | ".join(f"{value:.1e}" for name, value in row.items() if name != "shape")
        print(f"| {'x'.join(map(str, shape))} | {figures} |", flush=True)
    return rows


def network_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The change of the logits."""
    clips = torch.randn(args.clips, 3, 8, args.size, args.size, generator=torch.Generator().manual_seed(0))
    clips = clips.to(args.device).to(memory_format=torch.channels_last_3d)
    rows = []
    print("| blocks | precision | batch norms | change | other first class |\n|---|---|---|---|---|")
    for blocks in args.blocks:
        torch.manual_seed(0)
        net = create_model(args.network, blocks).to(args.device)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = None  # a cumulative average
                nn.init.constant_(module.weight, 0.5)
        for block in inserted_blocks(net).values():
            wake(block)
        with torch.no_grad():
            net.train()(clips)
        net.eval()
        expected = run(net, clips)
        unit = (expected - expected.mean(dim=1, keepdim=True)).norm()
        for precision, dtype in {"float32": None, **DTYPES}.items():
            for batch_norms in ("apart", "folded"):
                if (precision, batch_norms) != ("float32", "apart"):
                    found = run(fuse(net) if batch_norms == "folded" else net, clips, dtype)
                    change = float((found - expected).norm() / unit)
                    other = int((found.argmax(1) != expected.argmax(1)).sum())
                    rows.append([blocks, precision, batch_norms, change, other])
                    print(f"| {blocks} | {precision} | {batch_norms} | {change:.1e} | {other} of {args.clips} |")
    names = ("blocks", "precision", "batch_norms", "change", "other_first_class")
    return [dict(zip(names, row, strict=True)) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--network", default="slowonly_r50")
    parser.add_argument("--blocks", nargs="+", default=["none", "snl5", "se_all", "gc_all"])
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="inputs of single blocks, the smallest first")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    rows = {"blocks": block_rows(args), "networks": network_rows(args)}
    print(machine(args.device))
    write(args.json, {"machine": machine(args.device), **rows})


if __name__ == "__main__":
    main()
