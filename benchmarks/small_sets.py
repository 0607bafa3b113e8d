"""A recipe for small data sets against a linear probe on frame differences, on three small sets of real clips.

    python benchmarks/small_sets.py --videos VIDEOS --out runs/small --seeds 5 [--sets actions motions gestures]

VIDEOS holds ucf6/ (six classes of UCF-101, official split 1) and mhi3/ (27 clips of three gestures by three persons).

- actions: 30 clips of each class to train, 6 of other groups to validate, the official test videos of the six classes.
- motions: the same clips played forwards, backwards, fast and slowly; which one is the class, and no scene has one.
- ucf6: all official training videos, of which 3 groups of each class validate; only on request.
- gestures: two persons to train, the third to test; all three turns, whose videos are counted together.

A seed draws the training clips and initialises the network. The probe is a logistic regression on the mean absolute
differences of neighbouring frames (16 x 16 pixels, and their mean over the image at each time); its L2 penalty is the
best of five *on the test videos*, in its favour. Everything of a run is in OUT, and a repeated call continues there.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gcvideo.data.decode import open_video
from gcvideo.data.transforms import fixed_views
from gcvideo.dataset_tools.h264 import write_video
from gcvideo.sweep.statistics import paired_test

ROOT = Path(__file__).parent.parent
SMALL = "configs/small.yaml"
TRAIN, VAL = 30, 6  # clips of a class
SIDE, TIMES = 16, 16  # of the probe
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
MOTIONS = {"forwards": 2.0, "backwards": -2.0, "fast": 5.0, "slowly": 0.5}  # frames of the source from frame to frame


class Row(NamedTuple):
    """A row of a manifest."""

    path: str
    label: str
    split: str
    group: str


def read(manifest: Path) -> list[Row]:
    """Rows with absolute paths."""
    with manifest.open(encoding="utf-8") as file:
        return [
            Row(str(manifest.parent / row["path"]), row["label"], row["split"], row["group"])
            for row in csv.DictReader(file)
        ]


def write(manifest: Path, rows: Sequence[Row]) -> Path:
    """A manifest of the rows."""
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([Row._fields, *rows])
    return manifest


def draw(rows: Sequence[Row], seed: int, train: int | None = TRAIN, val: int | None = VAL) -> list[Row]:
    """So many clips of each class, of different groups, from the official training videos; all test videos."""
    rng = np.random.default_rng(seed)
    chosen = [row._replace(split="test") for row in rows if row.split == "val"]
    for label in sorted({row.label for row in rows}):
        own = [row for row in rows if row.label == label and row.split == "train"]
        groups = sorted({row.group for row in own})
        held_out = {groups[index] for index in rng.permutation(len(groups))[:3]}
        order = [own[index] for index in rng.permutation(len(own))]
        chosen += [row for row in order if row.group not in held_out][:train]
        chosen += [row._replace(split="val") for row in order if row.group in held_out][:val]
    return chosen


def play(source: Path, target: Path, step: float) -> None:
    """Write 24 frames of a clip, `step` frames apart from its middle on or before it."""
    video = open_video(str(source))
    times = (np.arange(24) - 12) * step + video.num_frames / 2
    indices = torch.from_numpy(times.round().astype(np.int64)).clamp(0, video.num_frames - 1)
    needed, rows = torch.unique(indices, return_inverse=True)
    frames = fixed_views(video.read(needed).permute(0, 3, 1, 2), 112, 112, 1)[0]
    write_video(target, frames[rows].permute(0, 2, 3, 1).contiguous().numpy())


def motions(rows: Sequence[Row], out: Path, seed: int) -> list[Row]:
    """The clips of a draw of `actions`, each in one motion; those of the test videos do not depend on the seed."""
    played, names = [], list(MOTIONS)
    for split in ("train", "val", "test"):
        part = [row for row in rows if row.split == split]
        rng = np.random.default_rng((seed if split != "test" else 0, len(part)))
        for turn, index in enumerate(rng.permutation(len(part))):
            row, name = part[index], names[turn % len(names)]
            target = out / "motions" / f"{Path(row.path).stem}_{name}.mp4"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                play(Path(row.path), target, MOTIONS[name])
            played.append(row._replace(path=str(target), label=name))
    return played


class Problem(NamedTuple):
    """Manifests whose test videos are counted together."""

    name: str
    manifests: list[Path]


def problems(videos: Path, out: Path, seed: int, names: Sequence[str]) -> Iterator[Problem]:
    """The sets as one seed draws them."""
    ucf6 = read(videos / "ucf6" / "manifest.csv")
    drawn = draw(ucf6, seed)
    if "ucf6" in names:
        yield Problem("ucf6", [write(out / f"ucf6-{seed}.csv", draw(ucf6, seed, None, None))])
    if "actions" in names:
        yield Problem("actions", [write(out / f"actions-{seed}.csv", drawn)])
    if "motions" in names:
        yield Problem("motions", [write(out / f"motions-{seed}.csv", motions(drawn, out, seed))])
    if "gestures" in names:
        rows, turns = read(videos / "mhi3" / "manifest.csv"), []
        for person in ("person1", "person2", "person3"):
            turn = [row._replace(split="test" if row.group == person else "train") for row in rows]
            turns.append(write(out / f"gestures-{person}.csv", turn))
        yield Problem("gestures", turns)


def features(path: str, cache: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean absolute frame differences of a video: over time [SIDE x SIDE], and over the image [TIMES - 1]."""
    if path not in cache:
        video = open_video(path)
        indices = torch.linspace(0, video.num_frames - 1, 2 * TIMES).long()[TIMES // 2 : TIMES // 2 + TIMES]
        needed, rows = torch.unique(indices, return_inverse=True)
        grey = video.read(needed).float().mean(-1)[rows]  # [T, H, W]
        small = F.interpolate(grey[None], (SIDE, SIDE), mode="area")[0] / 255
        change = small.diff(dim=0).abs()  # [T - 1, SIDE, SIDE]
        cache[path] = torch.cat([change.mean(0).flatten(), change.mean((1, 2))]).double().numpy()
    return cache[path]


def probe(manifest: Path, cache: dict[str, NDArray[np.float64]]) -> list[int]:
    """Right test videos of the probe, for each penalty."""
    rows = read(manifest)
    names = sorted({row.label for row in rows})
    parts = {}
    for split in ("train", "test"):
        own = [row for row in rows if row.split == split]
        x = torch.from_numpy(np.stack([features(row.path, cache) for row in own]))
        parts[split] = x, torch.tensor([names.index(row.label) for row in own])
    x, labels = parts["train"]
    center, scale = x.mean(0), x.std(0) + 1e-6
    test_x, test_labels = parts["test"]
    right = []
    for penalty in PENALTIES:
        weights = torch.zeros(x.shape[1] + 1, len(names), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

        def closure(
            weights: torch.Tensor = weights, optimizer: torch.optim.Optimizer = optimizer, penalty: float = penalty
        ) -> torch.Tensor:
            optimizer.zero_grad()
            logits = (x - center) / scale @ weights[1:] + weights[0]
            value = F.cross_entropy(logits, labels) + penalty * weights[1:].square().sum()
            value.backward()
            return value

        optimizer.step(closure)
        with torch.no_grad():
            predicted = ((test_x - center) / scale @ weights[1:] + weights[0]).argmax(1)
        right.append(int((predicted == test_labels).sum()))
    return right


def train(
    manifest: Path, out: Path, name: str, seed: int, configs: Sequence[str], options: Sequence[str]
) -> tuple[int, int]:
    """Right test videos of the recipe, and their number."""
    report = out / "runs" / name / "report.json"
    if not report.exists():
        has_val = any(row.split == "val" for row in read(manifest))
        common = ["--name", name, "--runs_dir", str(out / "runs")]
        data = [f"--data.manifest={manifest}", "--data.root=/", f"--seed_everything={seed}"]
        without = [] if has_val else ["--trainer.limit_val_batches=0"]
        gcvideo = [sys.executable, "-m", "gcvideo"]
        files = [f"--config={config}" for config in configs]  # first: what comes later wins
        subprocess.run([*gcvideo, "fit", *files, *common, *data, *without, *options], check=True, cwd=ROOT)
        subprocess.run([*gcvideo, "test", *common], check=True, cwd=ROOT)
    result = json.loads(report.read_text())
    return round(result["video_top1"] * result["evaluated"]), result["evaluated"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=["actions", "motions", "gestures"])
    parser.add_argument("--config", action="append", help="of the recipe; several, of which later ones win")
    parser.add_argument("--name", default="recipe", help="of the recipe: its runs are NAME-SET-SEED")
    parser.add_argument("--probe_only", action="store_true")
    args, options = parser.parse_known_args()  # the rest goes to `gcvideo fit`
    args.out = args.out.resolve()
    cache: dict[str, NDArray[np.float64]] = {}
    table: dict[str, list[tuple[float, float]]] = {}
    for seed in range(args.seeds):
        for problem in problems(args.videos.resolve(), args.out, seed, args.sets):
            counts = [probe(manifest, cache) for manifest in problem.manifests]
            num_test = [sum(row.split == "test" for row in read(manifest)) for manifest in problem.manifests]
            best = max(map(sum, zip(*counts, strict=True))) / sum(num_test)
            ours = float("nan")
            if not args.probe_only:
                names = [f"{args.name}-{manifest.stem}-{seed}" for manifest in problem.manifests]
                pairs = zip(problem.manifests, names, strict=True)
                results = [
                    train(manifest, args.out, name, seed, args.config or [SMALL], options) for manifest, name in pairs
                ]
                ours = sum(right for right, _ in results) / sum(total for _, total in results)
            table.setdefault(problem.name, []).append((best, ours))
            print(f"{problem.name} seed {seed}: probe {best:.3f}, {args.name} {ours:.3f}", flush=True)
    for name, rows in () if args.probe_only else table.items():
        difference = paired_test([ours - probe for probe, ours in rows])
        print(
            f"| {name} | {mean(probe for probe, _ in rows):.3f} | {mean(ours for _, ours in rows):.3f} | "
            f"{' '.join(f'{ours:.3f}' for _, ours in rows)} | {difference.difference:+.3f} | {difference.interval} |"
        )


if __name__ == "__main__":
    main()
