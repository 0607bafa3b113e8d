"""Many videos through a model, decoded by several processes."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from gcvideo.data.dataset import EvalDataset
from gcvideo.data.loading import Loading, make_loader
from gcvideo.data.memory import check_loaded
from gcvideo.data.samplers import Share
from gcvideo.data.videos import Videos
from gcvideo.recognition.recognizer import Recognizer


class Labelled(NamedTuple):
    """A video that was read.

    Attributes:
        number: index among the videos.
        scores: float [K], probabilities of all classes.
    """

    number: int
    scores: Tensor


def label_videos(recognizer: Recognizer, videos: Videos, workers: int = 0) -> Iterator[Labelled | None]:
    """Label each video once, in order; a broken one is logged as a warning and yields None.

    Args:
        recognizer: the model.
        videos: what to label.
        workers: decoding processes, at most one for each video; with 0 this process decodes.

    Raises:
        UsageError: this machine can't hold so many views.
        GcvideoError: no video in time, or the network returns no finite numbers.
    """
    dataset = EvalDataset(videos, recognizer.clip, recognizer.views, True, recognizer.decoder)
    views, side = recognizer.views.temporal * recognizer.views.spatial, recognizer.views.size or 0
    workers = workers if len(videos) > 1 else 0  # for one video, a process costs more than it saves
    check_loaded(f"{views} views of a video", views * 3 * recognizer.clip.frames * side * side, workers)
    for batch in make_loader(dataset, Share(0, 1, 1), Loading(), workers, seed=0, persistent=False):
        if batch is None:
            yield None
        else:
            yield Labelled(int(batch.indices[0]), recognizer.scores(batch.frames)[0])
