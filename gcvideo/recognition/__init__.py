"""Use of a trained model: `load` a run, a checkpoint or a package, and `predict`."""

from gcvideo.recognition.loading import load
from gcvideo.recognition.recognizer import Prediction, Recognizer, Span

__all__ = ["Prediction", "Recognizer", "Span", "load"]
