"""`gcvideo predict`: labels on stdout, all else on stderr, so that a pipe gets the labels alone."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gcvideo.cli.parser import Verb, non_negative_float, non_negative_int, positive_float, positive_int, verb_parser
from gcvideo.cli.trained import add_model_options, load_chosen
from gcvideo.errors import UsageError
from gcvideo.files import write_text
from gcvideo.terminal import printable

MAX_DEFAULT_WORKERS = 4


def predict_parser() -> argparse.ArgumentParser:
    """Parser of `gcvideo predict`."""
    parser = verb_parser(
        "predict",
        "Print the labels of videos, a line each. Progress and broken files are on stderr; the exit status is 1 only "
        "if no video could be read.",
    )
    parser.add_argument("videos", help="a video or image, a folder of them, or a manifest (.csv or .txt)")
    add_model_options(parser)
    parser.add_argument("--split", help="rows of a manifest to label; default: all")
    parser.add_argument("--top", type=positive_int, default=5, help="classes to print, at most")
    parser.add_argument("--out", metavar="FILE", help="write the labels and all scores to a .csv or .jsonl file, too")
    parser.add_argument(
        "--workers",
        type=non_negative_int,
        default=min(MAX_DEFAULT_WORKERS, os.cpu_count() or 1),
        help="processes that decode",
    )
    timeline = parser.add_argument_group("a long video")
    timeline.add_argument(
        "--timeline",
        metavar="FILE.csv",
        help="scan one video by a sliding window: segments to FILE.csv and stdout, the scores of the windows to "
        "FILE.windows.csv, a plot to FILE.png",
    )
    timeline.add_argument("--hop_s", type=positive_float, help="seconds between windows; default: half a clip")
    timeline.add_argument(
        "--switch_cost", type=non_negative_float, help="how much a change of the label costs; 0 does not smooth"
    )
    return parser


def run_predict(args: argparse.Namespace) -> int:
    """`gcvideo predict`."""
    if args.timeline is None and (args.hop_s is not None or args.switch_cost is not None):
        raise UsageError("--hop_s and --switch_cost are of the sliding window: expected --timeline FILE.csv with them")
    if args.timeline is not None and (args.out is not None or args.split is not None):
        raise UsageError("--timeline scans one video: --out and --split would have no effect")
    return _label(args) if args.timeline is None else _scan(args)


def _label(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from gcvideo.recognition.labelling import label_videos
    from gcvideo.recognition.sources import find_videos
    from gcvideo.recognition.tables import check_table_path, table_text
    from gcvideo.training.metrics import is_correct

    if args.out is not None:
        check_table_path(args.out)
    recognizer = load_chosen(args)
    videos, has_labels = find_videos(args.videos, recognizer.class_names, args.split, recognizer.label_separator)
    predictions, labels, correct = [], [], 0
    progress = label_videos(recognizer, videos, args.workers)
    with _broken_on_stderr():
        # disable=None: no bar where stderr is not a terminal
        for labelled in tqdm(progress, total=len(videos), unit="video", disable=None):
            if labelled is None:
                continue
            video = videos[labelled.number]
            prediction = recognizer.named(video.name, labelled.scores, args.top)
            pairs = zip(prediction.names, prediction.probabilities, strict=True)
            tqdm.write(printable(f"{video.name}: {', '.join(f'{name} {score:.3f}' for name, score in pairs)}"))
            sys.stdout.flush()
            predictions.append(prediction)
            labels.append(recognizer.label_text(video.label) if has_labels else None)
            correct += has_labels and is_correct(labelled.scores, videos.target(labelled.number))
    if args.out is not None:
        write_text(args.out, table_text(args.out, predictions, labels, recognizer.class_names))
    _tell(len(predictions), len(videos), correct if has_labels else None)
    return 0 if predictions else 1


@contextmanager
def _broken_on_stderr() -> Iterator[None]:
    """Print what the data set logs about broken videos, in whichever process it does."""

    class Printable(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    handler = logging.StreamHandler()
    handler.setFormatter(Printable())
    logger = logging.getLogger("gcvideo.data.dataset")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _tell(read: int, listed: int, correct: int | None) -> None:
    """The last line: how many videos, and how many of them correctly."""
    text = f"{read} of {listed} videos labelled"
    if read < listed:
        text += f", {listed - read} broken"
    if correct is not None and read:
        text += f"; top-1 {correct / read:.3f} ({correct} of {read})"
    print(text, file=sys.stderr)


def _scan(args: argparse.Namespace) -> int:
    from gcvideo.recognition.timeline import SWITCH_COST, check_timeline_path, scan, write_timeline

    check_timeline_path(args.timeline)
    recognizer = load_chosen(args)
    cost = SWITCH_COST if args.switch_cost is None else args.switch_cost
    timeline = scan(recognizer, args.videos, args.hop_s, cost, show_progress=True)
    for segment in timeline.segments:
        print(printable(f"{segment.start_s:.2f} {segment.end_s:.2f} {segment.label} {segment.score:.3f}"))
    files = write_timeline(timeline, args.timeline)
    print(f"{len(timeline.spans)} windows; {', '.join(map(str, files))}", file=sys.stderr)
    return 0


VERBS = {"predict": Verb(predict_parser, run_predict)}
