"""Which test notices which mistake in a GC block? Writes each mistake into a copy of the project and runs its tests.

    python benchmarks/mutants.py

Prints a Markdown table; exits with 1 if a mistake survives.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Mistake -> (text in gcvideo/blocks/context.py, what it becomes).
MUTANTS = {
    "softmax over the wrong axis": ("mask.flatten(2).softmax(dim=2)", "mask.flatten(2).softmax(dim=1)"),
    "softmax for each frame": (
        "mask.flatten(2).softmax(dim=2).view_as(mask)",
        "(mask.flatten(3).softmax(dim=3).view_as(mask) / mask.shape[2] if mask.ndim == 5 else "
        "mask.flatten(2).softmax(dim=2).view_as(mask))",
    ),
    "T and C swapped": (
        "pooled = x.flatten(2) @ weights.to(x.dtype)",
        "pooled = (x.transpose(1, 2).reshape(x.shape) if x.ndim == 5 else x).flatten(2) @ weights.to(x.dtype)",
    ),
    "no softmax": ("mask.flatten(2).softmax(dim=2).view_as(mask)", "mask"),
    "multiplied instead of added": (
        "out = out + self.channel_add_conv(context)",
        "out = out * self.channel_add_conv(context)",
    ),
    "attention ignored (average)": (
        "pooled = x.flatten(2) @ weights.to(x.dtype)",
        "pooled = x.flatten(2).mean(dim=2, keepdim=True)",
    ),
    "no LayerNorm": ("F.layer_norm(x.flatten(1), weight.shape, weight, bias, self.eps).view_as(x)", "x"),
    "last layer not zero at the start": ("nn.init.zeros_(cast(nn.Conv3d, last).weight)", "pass"),
    "no sigmoid": ("torch.sigmoid(self.channel_mul_conv(context))", "self.channel_mul_conv(context)"),
}


def failing_tests(source: str) -> list[str]:
    """Names of the tests of the blocks that fail with this context.py, without their parameters."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "runs", "__pycache__", ".*_cache"))
        (copy / "gcvideo/blocks/context.py").write_text(source)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/blocks"]
        environment = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin", "HOME": folder}
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, env=environment)
    return sorted(set(re.findall(r"^(?:FAILED|ERROR) tests/blocks/test_context\.py::(\w+)", done.stdout, re.MULTILINE)))


def main() -> int:
    source = (ROOT / "gcvideo/blocks/context.py").read_text()
    if broken := failing_tests(source):
        print(f"the tests fail without any mistake: {broken}", file=sys.stderr)
        return 2
    survived = 0
    print("| mistake | killed by |\n|---|---|")
    for name, (text, mistake) in MUTANTS.items():
        if text not in source:
            print(f"the source no longer has {text!r}", file=sys.stderr)
            return 2
        tests = failing_tests(source.replace(text, mistake))
        survived += not tests
        print(f"| {name} | {', '.join(f'`{test}`' for test in tests) or '**nothing**'} |", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
