"""The verbs that look into a trained model: `gcvideo analyze` and `attend`."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcvideo.cli.parser import Verb, as_usage_errors, positive_int, verb_parser
from gcvideo.cli.trained import add_model_options, load_chosen
from gcvideo.errors import GcvideoError, UsageError

if TYPE_CHECKING:
    from gcvideo.analysis.query_independence import LabelledClip
    from gcvideo.data.videos import Videos
    from gcvideo.recognition import Recognizer


def analyze_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo analyze`."""
    parser = verb_parser(
        "analyze",
        "What the blocks of a trained model depend on and attend to, over the videos of a manifest: GCNet's distances "
        "between queries, next to the published ones, whether frames or places make the difference, and how "
        "concentrated the attention is and where. Writes analysis.json, analysis.csv, analysis.html and figures.",
    )
    add_model_options(parser, parser.add_mutually_exclusive_group(required=True))
    parser.add_argument("--manifest", help="videos; default: that of the run")
    parser.add_argument("--root", help="folder that the paths of the manifest are relative to")
    parser.add_argument("--split", default="val", help="which videos of the manifest; all: every video")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="analyse N of the videos, drawn at random")
    parser.add_argument(
        "--queries", type=positive_int, default=128, help="queries of a clip between which the JSD is computed, at most"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw of videos and queries")
    parser.add_argument("--out", help="folder to write into; default: analysis, in the folder of the run")
    return parser


def run_analyze(args: argparse.Namespace) -> int:
    """`gcvideo analyze`; the exit status is 1 if no video can be decoded."""
    from gcvideo.analysis.page import figures_of, render_page
    from gcvideo.analysis.query_independence import analyse
    from gcvideo.analysis.results import Analysis, as_csv, as_plain, as_text
    from gcvideo.files import json_text, write_bytes, write_text

    recognizer = load_chosen(args)
    manifest, videos = _videos(args, recognizer)
    chosen = _chosen(len(videos), args.limit, args.seed)
    broken: list[str] = []
    clips = _clips(recognizer, videos, chosen, broken)
    blocks = analyse(recognizer.task.net, clips, recognizer.class_names, args.queries, args.seed)
    size = recognizer.views.size or 0
    analysis = Analysis(
        model=recognizer.name,
        checkpoint=str(recognizer.checkpoint),
        manifest=manifest,
        split=args.split,
        clips=len(chosen) - len(broken),
        broken=len(broken),
        clip_size=(recognizer.clip.frames, size, size),
        num_queries=args.queries,
        seed=args.seed,
        blocks=blocks,
    )
    figures = figures_of(analysis)
    with as_usage_errors(OSError):
        out = _folder(args.out, recognizer, "analysis")
        for name, picture in figures.items():
            write_bytes(out / name, picture)
        write_text(out / "analysis.json", json_text(as_plain(analysis)))
        write_text(out / "analysis.csv", as_csv(analysis))
        write_text(out / "analysis.html", render_page(analysis, figures))
    print(as_text(analysis), end="")
    print(f"{out}/: analysis.html, analysis.json, analysis.csv, {', '.join(figures)}", file=sys.stderr)
    return 0


def attend_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo attend`."""
    parser = verb_parser(
        "attend",
        "Draw over the central clip of a video what each block of a trained model attends to, and Grad-CAM: where the "
        "evidence for a class is. Writes a filmstrip (PNG) and a video or GIF.",
    )
    parser.add_argument("video", help="the video")
    add_model_options(parser, parser.add_mutually_exclusive_group(required=True))
    parser.add_argument("--block", default="all", help="one block, such as res4.0, or grad_cam")
    parser.add_argument("--queries", type=positive_int, default=4, help="positions whose maps are shown of an NL block")
    parser.add_argument("--class", dest="label", help="class that Grad-CAM explains; default: the predicted one")
    parser.add_argument("--layer", help="module that Grad-CAM looks at; default: the last stage")
    # No choices of a table: to import one would import torch.
    parser.add_argument("--format", choices=("mp4", "gif", "png"), default="mp4", help="png: only the filmstrip")
    parser.add_argument("--out", help="folder to write into; default: attention, in the folder of the run")
    return parser


def run_attend(args: argparse.Namespace) -> int:
    """`gcvideo attend`."""
    from gcvideo.analysis.animation import gif
    from gcvideo.analysis.clip import central_clip, network_input
    from gcvideo.analysis.drawing import filmstrip, moving
    from gcvideo.analysis.overlay import panels_of
    from gcvideo.dataset_tools.h264 import write_video
    from gcvideo.files import write_bytes

    recognizer = load_chosen(args)
    label = _class_index(args.label, recognizer.class_names)
    clip = central_clip(recognizer, args.video)
    panels = panels_of(
        recognizer.task.net,
        network_input(recognizer, clip),
        recognizer.class_names,
        args.block,
        args.queries,
        label,
        args.layer,
    )
    frames = clip.frames.transpose(0, 1)  # [T, 3, S, S]
    title = f"{Path(args.video).name}, {recognizer.name}"
    with as_usage_errors(OSError):
        stem = _folder(args.out, recognizer, "attention") / Path(args.video).stem
        files = [f"{stem}.png"]
        write_bytes(files[0], filmstrip(frames, clip.times, clip.unit, panels))
        if args.format != "png":
            files.append(f"{stem}.{args.format}")
            pictures = list(moving(frames, clip.times, clip.unit, panels, title))
            if args.format == "gif":
                write_bytes(files[1], gif(pictures, clip.seconds_per_frame))
            else:
                import numpy as np

                # Three times, because a clip is short and players stop at the end.
                fps = max(round(1 / clip.seconds_per_frame), 1)
                write_video(Path(files[1]), np.stack(pictures * 3), fps)
    print("\n".join(files))
    return 0


def _folder(requested: str | None, recognizer: Recognizer, name: str) -> Path:
    """The folder to write into, made: as requested, or in that of the run, or next to the checkpoint."""
    parent = recognizer.checkpoint.parent
    folder = Path(requested) if requested else (parent.parent if parent.name == "checkpoints" else parent) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _videos(args: argparse.Namespace, recognizer: Recognizer) -> tuple[str, Videos]:
    """The manifest and its videos; labels are those of the model."""
    from gcvideo.cli.adopted import adopted_settings
    from gcvideo.data.manifest import read_manifest

    own: dict[str, Any] = {}
    if args.manifest is None:  # of a checkpoint alone, only the run's own config.yaml says which videos
        own = adopted_settings(recognizer.checkpoint, recognizer.checkpoint.parent.parent)["data"]
    manifest, root = args.manifest or own.get("manifest"), args.root or own.get("root")
    if not manifest:
        raise UsageError("expected --manifest: the checkpoint is not in the folder of a run that has one")
    split = None if args.split == "all" else args.split
    outside_root = bool(own.get("loading", {}).get("outside_root", False))
    separator = recognizer.label_separator
    videos = read_manifest(manifest, split, root, recognizer.class_names, outside_root, label_separator=separator)
    return str(manifest), videos


def _chosen(count: int, limit: int | None, seed: int) -> list[int]:
    """Indices of `limit` of `count` videos at random: manifests are often sorted by class, or repeat the classes."""
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), limit))


def _clips(recognizer: Recognizer, videos: Videos, chosen: list[int], broken: list[str]) -> Iterator[LabelledClip]:
    """The central clip of each chosen video; those that can't be decoded are reported, and added to `broken`."""
    from tqdm import tqdm

    from gcvideo.analysis.clip import central_clip, network_input
    from gcvideo.analysis.query_independence import LabelledClip
    from gcvideo.data.decode import VideoDecodeError

    for index in tqdm(chosen, desc="analyze", unit="video", disable=None, leave=False):  # None: not off a terminal
        video = videos[index]
        try:
            clip = central_clip(recognizer, video.file)
        except VideoDecodeError as error:
            broken.append(video.file)
            print(f"skipped: {error}", file=sys.stderr)
            continue
        yield LabelledClip(network_input(recognizer, clip), video.label)
    if len(broken) == len(chosen):
        raise GcvideoError(f"none of {len(chosen)} videos can be decoded")


def _class_index(name: str | None, class_names: list[str]) -> int | None:
    if name is None:
        return None
    if name not in class_names:
        raise UsageError(f"--class: expected one of {', '.join(class_names)}, got {name!r}")
    return class_names.index(name)


VERBS = {"analyze": Verb(analyze_parser, run_analyze), "attend": Verb(attend_parser, run_attend)}
