"""Settings of `gcvideo prepare` and `pairs`. Light to import: the command line shows their defaults in its help."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from gcvideo.dataset_tools.plan import Part

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")

Encoder = Literal["auto", "pyav", "ffmpeg"]

ENCODERS: tuple[Encoder, ...] = get_args(Encoder)


@dataclass(frozen=True)
class Encoding:
    """How prepared videos are encoded.

    Args:
        short_side: short side of the frame in pixels, even; a smaller video is not enlarged.
        crf: constant quality of x264, 0 (lossless) to 51.
        preset: of x264, "ultrafast" to "veryslow": slower presets give smaller files.
        encoder: "pyav" (x264 in PyAV), "ffmpeg" (the executable), or "auto": PyAV if it has x264, else ffmpeg.

    Raises:
        ValueError: a value out of range.
    """

    short_side: int = 256
    crf: int = 20
    preset: str = "medium"
    encoder: Encoder = "auto"

    def __post_init__(self) -> None:
        if self.short_side < 16 or self.short_side % 2:
            raise ValueError(f"short_side must be even and at least 16, got {self.short_side}")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must be in 0..51, got {self.crf}")
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the prepared video: even, the short side at most `short_side`."""
        scale = min(self.short_side / min(width, height), 1)
        # Even, because yuv420p stores colours at half the resolution.
        return max(2 * round(width * scale / 2), 2), max(2 * round(height * scale / 2), 2)


@dataclass(frozen=True)
class PrepareOptions:
    """How the work is done; without influence on the prepared files.

    Args:
        workers: number of processes.
        timeout_s: time limit for each video.
        part: which of the videos; each part can run on another machine.
        retry: retry the videos that failed before.
        progress: show a bar: videos per second, time left, failures.
        scheduler: address of a dask scheduler, whose workers do the work instead of processes of this machine.
    """

    workers: int = 1
    timeout_s: float = 600.0
    part: Part = field(default_factory=Part)
    retry: bool = False
    progress: bool = True
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 1 or self.timeout_s <= 0:
            raise ValueError(f"expected workers >= 1 and timeout_s > 0, got {self.workers} and {self.timeout_s}")


@dataclass(frozen=True)
class PairOptions:
    """How pairs are made.

    Args:
        kinds: names of the classes of kind 0 and of kind 1; clips of other classes are not used.
        each: number of pairs for each clip of the two kinds.
        frames: T, of each video.
        stride: distance of neighbouring frames in the source.
        size: width and height in pixels, even.
        seed: equal seeds give equal files.

    Raises:
        ValueError: a value out of range.
    """

    kinds: tuple[Sequence[str], Sequence[str]]
    each: int = 3
    frames: int = 16
    stride: int = 2
    size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if not all(self.kinds) or set(self.kinds[0]) & set(self.kinds[1]):
            raise ValueError(f"expected two kinds, each of one class or more, none in both, got {self.kinds}")
        for name in ("each", "frames", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} >= 1, got {getattr(self, name)}")
        if self.size < 32 or self.size % 2:
            raise ValueError(f"expected an even size of at least 32, got {self.size}")
