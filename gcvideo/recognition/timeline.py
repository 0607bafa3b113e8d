"""What happens when in a long video: a sliding window, smoothed to segments.

Each window is a clip as the network was trained on, half a clip after the one before. The labels of the windows are
smoothed by the most probable path through a chain in which every change of the label has a cost: Viterbi's algorithm
(IEEE Transactions on Information Theory 13:260, 1967). With labels y and probabilities p of windows w it maximises

    sum_w log max(p_w(y_w), MIN_PROBABILITY) - SWITCH_COST * (number of changes)

A model that gives a video any number of classes says of each one when it happens: a chain for each class, whose two
labels, "no" and "yes", have the probabilities 1 - p and p. Its segments may overlap, and between them may be none.

A video is decoded once, from its start to its end; memory holds the frames of a few windows, however long it is.

Letters: W windows, T frames, S side, K classes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from gcvideo.data.decode import VideoDecodeError, stream_video
from gcvideo.data.transforms import Views
from gcvideo.errors import UsageError
from gcvideo.files import csv_text, write_bytes, write_text
from gcvideo.recognition.recognizer import Recognizer, Span, spans

MIN_PROBABILITY = 0.01
SWITCH_COST = 2.5
"""More than half of log(0.99 / 0.01) = 4.6, so that one window that differs from its neighbours, two changes, is noise
however certain it is; two of them, one and a half clips, can be a segment."""
BATCH = 8
"""Windows that go through the network at once."""


@dataclass(frozen=True)
class Segment:
    """A part of a video with one label.

    Attributes:
        start_s, end_s: in seconds; segments adjoin, unless a video may have several classes.
        label: name of the class.
        score: mean probability of the class over the windows of the segment.
    """

    start_s: float
    end_s: float
    label: str
    score: float


@dataclass(frozen=True)
class Timeline:
    """What happens when in a video.

    Attributes:
        path: of the video.
        class_names: of the K classes.
        duration_s: of the video, in seconds.
        spans: of the W windows, ascending.
        scores: float [W, K], their probabilities.
        segments: smoothed, by their start; of one class each they reach from 0 to the end of the video.
    """

    path: str
    class_names: list[str]
    duration_s: float
    spans: tuple[Span, ...]
    scores: Tensor
    segments: tuple[Segment, ...]


def scan(
    recognizer: Recognizer,
    path: str | Path,
    hop_s: float | None = None,
    switch_cost: float = SWITCH_COST,
    show_progress: bool = False,
) -> Timeline:
    """Slide a window over a video; one centre crop of each clip.

    Args:
        recognizer: the model.
        path: the video.
        hop_s: seconds from one window to the next; default half a clip.
        switch_cost: of a change of the label, at least 0; 0 does not smooth.
        show_progress: a bar on stderr, if it is a terminal.

    Raises:
        VideoDecodeError: it can't be decoded, is an image, or has no frame rate.
        ValueError: `hop_s` or `switch_cost` out of range.
    """
    if not 0 <= switch_cost < math.inf:
        raise ValueError(f"expected a finite switch_cost >= 0, got {switch_cost}")
    video = stream_video(str(path))
    if not 0 < video.fps < math.inf:
        raise VideoDecodeError(str(path), "has no frame rate, which a timeline requires")
    indices = recognizer.clip.sliding(video.num_frames, video.fps, hop_s)  # [W, T]
    centre = replace(recognizer.views, temporal=1, spatial=1)
    clips = iter(tqdm(windows(video.stream(), indices, centre), total=len(indices), unit="window",
                      disable=None if show_progress else True))  # fmt: skip
    scores = []
    while batch := list(islice(clips, BATCH)):
        scores.append(recognizer.scores(torch.stack(batch)[:, None]))  # [B, 1, 3, T, S, S] -> [B, K]
    if sum(map(len, scores)) < len(indices):
        raise VideoDecodeError(str(path), f"ends before the last of its {video.num_frames} frames")
    duration_s = video.num_frames / video.fps
    times, probabilities = spans(indices, video.fps), torch.cat(scores)
    find = segments_of_each if recognizer.task.multi_label else segments_of
    segments = find(times, probabilities, recognizer.class_names, duration_s, switch_cost)
    return Timeline(str(path), recognizer.class_names, duration_s, times, probabilities, segments)


def windows(frames: Iterator[Tensor], indices: Tensor, views: Views) -> Iterator[Tensor]:
    """The clips of a video, uint8 [3, T, S, S] each, from its frames uint8 [H, W, 3] in order.

    Only the frames between the first and the last of the current window are held.

    Args:
        frames: all frames of the video.
        indices: int64 [W, T], of each window; their first frames ascend.
        views: of which the centre square is taken.
    """
    last = indices.amax(dim=1).tolist()
    first = indices.amin(dim=1).tolist()
    taken = set(indices.flatten().tolist())
    held: dict[int, Tensor] = {}
    window = 0
    for number, frame in enumerate(frames):
        if number in taken:
            held[number] = views.squares(frame.permute(2, 0, 1)[None])[0][0]  # [3, S, S]
        while window < len(indices) and number >= last[window]:
            yield torch.stack([held[index] for index in indices[window].tolist()], dim=1)
            window += 1
            if window < len(indices):
                held = {index: square for index, square in held.items() if index >= first[window]}
        if window == len(indices):
            return


def smooth(scores: Tensor, switch_cost: float) -> list[int]:
    """The classes of windows, changes of which cost something; see the head of this module.

    Args:
        scores: float [W, K], probabilities.
        switch_cost: of each change.
    """
    gains = scores.double().clamp(min=MIN_PROBABILITY).log()  # [W, K]
    best = gains[0]  # [K]: of the paths that end in each class
    origins = []
    for gain in gains[1:]:
        top = int(best.argmax())
        stays = best >= best[top] - switch_cost
        origins.append(torch.where(stays, torch.arange(len(best)), top))
        best = torch.where(stays, best, best[top] - switch_cost) + gain
    labels = [int(best.argmax())]
    for origin in reversed(origins):
        labels.append(int(origin[labels[-1]]))
    return labels[::-1]


def segments_of(
    times: tuple[Span, ...], scores: Tensor, class_names: list[str], duration_s: float, switch_cost: float
) -> tuple[Segment, ...]:
    """Runs of equal labels; a boundary is half-way between the centres of the two windows that differ.

    Args:
        times: of the W windows.
        scores: float [W, K], probabilities.
        class_names: of the K classes.
        duration_s: of the video.
        switch_cost: of a change of the label; see `smooth`.
    """
    labels = smooth(scores, switch_cost)
    changes = [window for window in range(1, len(labels)) if labels[window] != labels[window - 1]]
    centres = [(span.start_s + span.end_s) / 2 for span in times]
    bounds = [0.0, *((centres[window - 1] + centres[window]) / 2 for window in changes), duration_s]
    starts = [0, *changes, len(labels)]
    return tuple(
        Segment(
            bounds[number],
            bounds[number + 1],
            class_names[labels[start]],
            float(scores[start : starts[number + 1], labels[start]].mean()),
        )
        for number, start in enumerate(starts[:-1])
    )


def segments_of_each(
    times: tuple[Span, ...], scores: Tensor, class_names: list[str], duration_s: float, switch_cost: float
) -> tuple[Segment, ...]:
    """When each class happens, by the start; arguments as for `segments_of`."""
    found = []
    for score, name in zip(scores.T, class_names, strict=True):  # [W] of one class
        of_class = segments_of(times, torch.stack([1 - score, score], 1), ["", name], duration_s, switch_cost)
        found += [segment for segment in of_class if segment.label == name]
    return tuple(sorted(found, key=lambda segment: (segment.start_s, segment.end_s)))


def check_timeline_path(path: str | Path) -> None:
    """Refuse a file that can't be written, before the video is read.

    Raises:
        UsageError: not a .csv file, or no such folder.
    """
    if Path(path).suffix.lower() != ".csv" or not Path(path).parent.is_dir():
        raise UsageError(f"expected a .csv file in a folder that exists, got {path}")


def write_timeline(timeline: Timeline, path: str | Path) -> list[Path]:
    """Write FILE.csv (segments), FILE.windows.csv (scores of the windows) and FILE.png (a plot); returns their paths.

    Raises:
        UsageError: `path` is not a .csv file in a folder that exists.
    """
    from gcvideo.recognition.timeline_plot import plot  # matplotlib takes a second

    check_timeline_path(path)
    table, of_windows, picture = Path(path), Path(path).with_suffix(".windows.csv"), Path(path).with_suffix(".png")
    rows = [(f"{s.start_s:.3f}", f"{s.end_s:.3f}", s.label, f"{s.score:.5f}") for s in timeline.segments]
    write_text(table, csv_text(("start_s", "end_s", "label", "score"), rows))
    lines = [
        (f"{span.start_s:.3f}", f"{span.end_s:.3f}", *(f"{score:.5f}" for score in scores))
        for span, scores in zip(timeline.spans, timeline.scores.tolist(), strict=True)
    ]
    write_text(of_windows, csv_text(["start_s", "end_s", *(f"score {name}" for name in timeline.class_names)], lines))
    write_bytes(picture, plot(timeline))
    return [table, of_windows, picture]
