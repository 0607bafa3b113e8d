"""Peak memory of one NL block, forward and backward, next to pytorchvideo's on the same input and weights.

    python benchmarks/non_local_memory.py [--threads 2]

4 x 512 channels x 8 x 28 x 28 positions (res3 of an 8x8 network at 224 pixels). Each measurement is a process of its
own: what the peak of its resident memory rises above that before the first forward pass, which includes the output,
the gradients and all that is kept for them. The outputs are compared, too.
"""

import argparse
import resource
import subprocess
import sys
import time

SHAPE = (4, 512, 8, 28, 28)
CASES = (("softmax", False), ("softmax", True), ("dot_product", False), ("dot_product", True))


def measure(who: str, instantiation: str, sub_sample: bool, threads: int) -> None:
    """Print MB above the start, seconds, and a checksum of output and input gradient."""
    import torch
    from pytorchvideo.layers.nonlocal_net import create_nonlocal

    from gcvideo import NonLocalBlock3d

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pool = (1, 2, 2) if sub_sample else (1, 1, 1)
    block = create_nonlocal(dim_in=512, dim_inner=256, pool_size=pool, instantiation=instantiation)
    if who == "gcvideo":
        mode = "embedded_gaussian" if instantiation == "softmax" else instantiation
        ours = NonLocalBlock3d(512, mode=mode, sub_sample=sub_sample)
        ours.load_state_dict(block.state_dict())
        block = ours
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    block(x[:1, :, :1, :4, :4])  # libraries are loaded, buffers made
    gradient = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    before = _peak_mb()
    start = time.perf_counter()
    out = block(x)
    out.backward(gradient)
    seconds = time.perf_counter() - start
    assert x.grad is not None
    print(_peak_mb() - before, seconds, out.double().abs().mean().item(), x.grad.double().abs().sum().item())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure every case and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", nargs=3, metavar=("WHO", "INSTANTIATION", "SUB_SAMPLE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        who, instantiation, sub_sample = given.measure
        measure(who, instantiation, sub_sample == "True", given.threads)
        return
    print("| block | keys | pytorchvideo MB | gcvideo MB | ratio | seconds | largest relative difference |")
    print("|---|---|---|---|---|---|---|")
    for instantiation, sub_sample in CASES:
        rows = []
        for who in ("pytorchvideo", "gcvideo"):
            command = [sys.executable, __file__, "--threads", str(given.threads)]
            command += ["--measure", who, instantiation, str(sub_sample)]
            rows.append([float(x) for x in subprocess.check_output(command, text=True).split()[-4:]])
        (mb, s, out, grad), (our_mb, our_s, our_out, our_grad) = rows
        difference = max(abs(our_out / out - 1), abs(our_grad / grad - 1))
        keys = "pooled (1, 2, 2)" if sub_sample else "all 6272"
        print(
            f"| {instantiation} | {keys} | {mb:.0f} | {our_mb:.0f} | 1 / {mb / our_mb:.1f} | "
            f"{s:.2f} / {our_s:.2f} | {difference:.1e} |"
        )


if __name__ == "__main__":
    main()
