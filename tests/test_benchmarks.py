"""The benchmarks run, in small: a GPU is rarely at hand, and then they must work at once."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CPUINFO = Path("/proc/cpuinfo")
# Without instructions for it, a step of pytorchvideo's network in bf16 takes minutes.
HAS_BF16 = CPUINFO.exists() and re.search(r"\b(avx512_bf16|amx_bf16)\b", CPUINFO.read_text()) is not None
PRECISIONS = ("32", "bf16") if HAS_BF16 else ("32",)
COMMANDS = {
    "block": ("--rounds", "1", "--batch", "1", "--threads", "1"),
    "model": (
        "--network",
        "slowonly_thin",
        "--rounds",
        "1",
        "--threads",
        "2",
        "--blocks",
        "gc_all",
        "--precision",
        *PRECISIONS,
    ),
    "precision": ("--network", "slowonly_tiny", "--size", "64", "--clips", "2", "--blocks", "gc_all", "--shapes", "1"),
    "end_to_end": ("MANIFEST", "--workers", "1", "--steps", "2", "--skip", "1", "--batch", "2", "--step_ms", "5"),
    "startup": ("--rounds", "1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_it_runs_and_writes_its_figures(name, tmp_path, synthetic):
    arguments = [str(synthetic) if argument == "MANIFEST" else argument for argument in COMMANDS[name]]
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text())
    assert len(done.stdout.splitlines()) > 3, "a table"
