"""Single videos for the page: frames, prediction, and what the blocks attend to.

Letters: T frames, S side of a view, K classes.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

from torch import Tensor

from gcvideo.analysis import attention_maps
from gcvideo.data.dataset import EvalDataset
from gcvideo.report import plots
from gcvideo.report.results import ViewCounts
from gcvideo.training.metrics import VideoResults, predicted_classes, true_classes
from gcvideo.training.task import VideoTask

MAX_MAPS = 4

DARK, BRIGHT = 0.2, 0.35
"""Mean brightness, of 1, below which frames are shown brightened, and the one that they are shown with."""

MIN_GAMMA = 0.3  # below, the noise of nearly black frames is all that is seen


class Example(NamedTuple):
    """One video on the page.

    Args:
        caption: name, prediction, whether it is correct, and whether its frames are shown brightened.
        strip: its frames and below them the attention, as PNG.
        has_attention: whether any block's attention is shown.
    """

    caption: str
    strip: bytes
    has_attention: bool


def make_example(row: int, results: VideoResults, task: VideoTask, dataset: EvalDataset, views: ViewCounts) -> Example:
    """Decode the video of one row of the results again, and draw its central view.

    Args:
        row: of `results`.
        results: of all videos.
        task: the tested model, which computes the attention.
        dataset: that was tested.
        views: of its videos.
    """
    index = int(results.indices[row])
    item = dataset[index]
    assert item is not None  # it was decoded for the test
    view = item.frames[central_view(views)]  # [3, T, S, S]
    attention = attention_maps(task.net, task.normalise(view[None]))  # of each block [1, 1, T', H', W']
    maps = {f"block {number}": weights[0, 0].cpu() for number, weights in enumerate(attention.values(), start=1)}
    gamma = gamma_of(view)
    shown = view if gamma == 1 else (255 * (view / 255) ** gamma).to(view.dtype)
    strip = plots.filmstrip(shown.permute(1, 0, 2, 3), evenly_chosen(maps))  # [T, 3, S, S]
    best = int(predicted_classes(results.scores[[row]], results.labels[[row]]))
    is_true = true_classes(results.labels[[row]], len(task.class_names))[0]
    caption = _caption(dataset.videos[index].name, is_true, best, results.scores[row], task.class_names)
    if gamma != 1:
        caption += f"; dark, shown brightened (gamma {gamma:.2f})"
    return Example(caption, strip, bool(maps))


def gamma_of(frames: Tensor) -> float:
    """Exponent that makes dark frames visible; 1 for frames that are bright enough, and for black ones.

    Frames of mean brightness m are shown with the exponent log(0.35) / log(m), which maps m itself to 0.35.

    Args:
        frames: uint8, of any shape.
    """
    mean = frames.float().mean().item() / 255
    if mean == 0 or mean >= DARK:
        return 1.0
    return max(MIN_GAMMA, log(BRIGHT) / log(mean))


def central_view(views: ViewCounts) -> int:
    """Index of the view in the middle of a video.

    The crops of a clip follow each other. With 2 clips x 3 crops:

        view    0 1 2 | 3 4 5
        clip    0 0 0 | 1 1 1      central clip 2 // 2 = 1
        crop    0 1 2 | 0 1 2      central crop 3 // 2 = 1, hence view 1 * 3 + 1 = 4
    """
    clip = views.temporal // 2
    crop = views.spatial // 2
    return clip * views.spatial + crop


def evenly_chosen(maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """At most `MAX_MAPS` maps, evenly spaced from the first to the last."""
    names = list(maps)
    if len(names) > MAX_MAPS:
        step = (len(names) - 1) / (MAX_MAPS - 1)  # of 10 maps 3.0: maps 0, 3, 6, 9
        names = [names[round(number * step)] for number in range(MAX_MAPS)]
    return {name: maps[name] for name in names}


def _caption(video: str, is_true: Tensor, best: int, scores: Tensor, class_names: Sequence[str]) -> str:
    labels = [f"{class_names[label]} ({scores[label]:.3f})" for label in is_true.nonzero().flatten().tolist()]
    verdict = "right" if is_true[best] else f"wrong: it is {', '.join(labels) or 'of no class'}"
    return f"{video} — predicted {class_names[best]} ({scores[best]:.3f}), {verdict}"
