"""What the benchmarks of computations share: interleaved medians, and the machine they were taken on."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last_3d}
"""Name of a memory format of videos -> the format."""


def medians(functions: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu") -> dict[str, float]:
    """Median milliseconds of each function, called in turn, forwards and backwards, `rounds` times.

    On a GPU a call is timed from an empty queue to an empty queue, after the L2 cache was overwritten.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    flush = torch.empty(64 * 2**20, dtype=torch.int8, device=device) if device == "cuda" else None
    for number in range(rounds + 1):
        for name in functions if number % 2 else reversed(functions):  # type: ignore[call-overload]
            if flush is not None:
                flush.zero_()
                torch.cuda.synchronize()
            start = time.perf_counter()
            functions[name]()
            if flush is not None:
                torch.cuda.synchronize()
            if number:  # the first round fills memory pools and caches of kernels
                seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def machine(device: str = "cpu") -> dict[str, Any]:
    """Where and with what: goes into every table."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
        name = names[0] if names else platform.processor()
    return {
        "device": name,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write(path: Path | None, result: dict[str, Any]) -> None:
    """`result` as JSON, if a file was asked for."""
    if path is not None:
        path.write_text(json.dumps(result, indent=2) + "\n")
