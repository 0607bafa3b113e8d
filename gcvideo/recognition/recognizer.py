"""A trained model with what it needs to read a video.

Letters: V views (temporal clips x spatial crops), T frames, S side, K classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from gcvideo.data.dataset import VideoViews, open_for, read_views
from gcvideo.data.decode import DEFAULT_DECODER, DecoderName
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Views
from gcvideo.errors import GcvideoError
from gcvideo.training.metrics import average_views
from gcvideo.training.task import VideoTask

if TYPE_CHECKING:
    from gcvideo.recognition.timeline import Timeline


class Span(NamedTuple):
    """A part of a video, in seconds; both 0 where the file has no frame rate."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Prediction:
    """What a video was recognised as.

    Attributes:
        path: of the video.
        names: classes, the most probable first.
        probabilities: theirs, in [0, 1].
        scores: float [K], probabilities of all classes in the order of the model; they sum to 1, unless videos may have
            several classes.
        times: of each clip that was looked at, in the order of the video.
    """

    path: str
    names: tuple[str, ...]
    probabilities: tuple[float, ...]
    scores: Tensor
    times: tuple[Span, ...]


@dataclass(frozen=True)
class Recognizer:
    """A trained model; made by `gcvideo.load`.

    Attributes:
        task: the network with its normalisation, in evaluation mode, on its device.
        clip: which frames a view takes.
        views: how many views, and which part of the frames; its sizes are set.
        name: of the run, or of the file.
        checkpoint: file that it was loaded from.
        decoder: library that decodes.
        label_separator: of the labels in a cell of its manifest, if it tells any number of classes of a video.
    """

    task: VideoTask
    clip: Clip
    views: Views
    name: str
    checkpoint: Path
    decoder: DecoderName = DEFAULT_DECODER
    label_separator: str | None = None

    @property
    def class_names(self) -> list[str]:
        """Index -> name."""
        return self.task.class_names

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.task.device

    def read(self, path: str | Path) -> Tensor:
        """The views of a video: uint8 [V, 3, T, S, S], the spatial views of a clip adjacent.

        `task.normalise` makes the input of the network of them.

        Raises:
            VideoDecodeError: no such file, or it can't be decoded.
        """
        return self._views(path)[0].frames

    def predict(self, path: str | Path, top: int = 5) -> Prediction:
        """Label a video: the mean of the probabilities of its views.

        Args:
            path: a video or an image.
            top: how many classes to name, at most; all are in `scores`.

        Raises:
            VideoDecodeError: no such file, or it can't be decoded.
            GcvideoError: the network returns no finite numbers.
        """
        views, fps = self._views(path)
        scores = self.scores(views.frames[None])[0]
        return self.named(str(path), scores, top, spans(views.indices, fps))

    def timeline(self, path: str | Path, hop_s: float | None = None, switch_cost: float | None = None) -> "Timeline":
        """What happens when in a long video; see `recognition.timeline.scan`.

        Args:
            path: the video; it is decoded once, and memory does not grow with its length.
            hop_s: seconds from one window to the next; default half a clip.
            switch_cost: of a change of the label; default `SWITCH_COST`, 0 does not smooth.

        Raises:
            VideoDecodeError: it can't be decoded, is an image, or has no frame rate.
        """
        from gcvideo.recognition.timeline import SWITCH_COST, scan

        return scan(self, path, hop_s, SWITCH_COST if switch_cost is None else switch_cost)

    def scores(self, frames: Tensor) -> Tensor:
        """Probabilities [B, K] of videos from their views, uint8 [B, V, 3, T, S, S].

        Raises:
            GcvideoError: the network returns no finite numbers.
        """
        # Not inference_mode: the first call may change the memory format of the weights, which must stay trainable.
        with torch.no_grad():
            scores = average_views(self.task(frames), self.task.multi_label).cpu()
        if not scores.isfinite().all():
            raise GcvideoError(f"{self.checkpoint}: the network returns no finite numbers; the training has diverged")
        return scores

    def named(self, path: str, scores: Tensor, top: int = 5, times: tuple[Span, ...] = ()) -> Prediction:
        """A prediction from the probabilities [K] of a video."""
        best = scores.topk(min(top, len(self.class_names)))
        names = tuple(self.class_names[index] for index in best.indices.tolist())
        return Prediction(path, names, tuple(best.values.tolist()), scores, times)

    def label_text(self, label: int | tuple[int, ...]) -> str:
        """The label of a `Video` as a manifest has it: the name of its class, or those of several."""
        if isinstance(label, int):
            return self.class_names[label]
        return (self.label_separator or "").join(self.class_names[index] for index in label)

    def _views(self, path: str | Path) -> tuple[VideoViews, float]:
        """The views of a video, and its frame rate."""
        reader = open_for(self.clip, str(path), self.decoder)
        return read_views(reader, self.clip, self.views), reader.fps


def spans(indices: Tensor, fps: float) -> tuple[Span, ...]:
    """When clips begin and end.

    Args:
        indices: int64 [N, T], their frames.
        fps: frame rate of the video; 0 if unknown.
    """
    if fps <= 0:
        return (Span(0.0, 0.0),) * len(indices)
    first, last = indices.amin(dim=1).tolist(), indices.amax(dim=1).tolist()
    return tuple(Span(start / fps, (end + 1) / fps) for start, end in zip(first, last, strict=True))
