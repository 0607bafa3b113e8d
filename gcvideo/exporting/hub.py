"""Models for the Hugging Face Hub: a folder with config.json, model.safetensors and a model card.

`model.safetensors` is a package, so that `gcvideo.load(folder)` needs nothing but the folder. The class adds the Hub's
own `from_pretrained`, `save_pretrained` and `push_to_hub` (huggingface_hub, `PyTorchModelHubMixin`).
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from torch import Tensor, nn

from gcvideo import __version__
from gcvideo.errors import UsageError
from gcvideo.exporting.card import model_card
from gcvideo.recognition import Recognizer, load
from gcvideo.recognition.loading import HUB_WEIGHTS, save


class HubModel(nn.Module, PyTorchModelHubMixin, library_name="gcvideo"):
    """A recognizer with the methods of the Hub.

    Args:
        recognizer: the model.

    Example:
        >>> HubModel(recognizer).save_pretrained("folder")  # doctest: +SKIP
        >>> HubModel.from_pretrained("folder").recognizer.predict("clip.mp4")  # doctest: +SKIP
    """

    def __init__(self, recognizer: Recognizer):
        super().__init__()
        self.recognizer = recognizer
        self.task = recognizer.task

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 frames [B, V, 3, T, S, S] -> logits [B, V, K]."""
        return self.task(frames)

    def config(self) -> dict[str, Any]:
        """What config.json holds, for readers; `load` takes all of it from model.safetensors."""
        return {
            "gcvideo": __version__,
            "name": self.recognizer.name,
            "network": self.task.hparams["net"] or self.task.hparams["network"],
            "blocks": self.task.hparams["blocks"],
            "class_names": self.recognizer.class_names,
            "clip": asdict(self.recognizer.clip),
            "views": asdict(self.recognizer.views),
        }

    def generate_model_card(self, *args: Any, **options: Any) -> ModelCard:
        """The card of `model_card`, which replaces the Hub's template."""
        return ModelCard(model_card(self.recognizer))

    def _save_pretrained(self, save_directory: Path) -> None:
        save(self.recognizer, save_directory / HUB_WEIGHTS)

    @classmethod
    def _from_pretrained(  # type: ignore[override]  # what the network is, the package says
        cls, *, model_id: str, map_location: str = "cpu", strict: bool = True, **options: Any
    ) -> "HubModel":
        names = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        chosen = {name: options[name] for name in names if name in options}
        file = (
            Path(model_id, HUB_WEIGHTS) if os.path.isdir(model_id) else hf_hub_download(model_id, HUB_WEIGHTS, **chosen)
        )
        return cls(load(file, map_location))


def write_hub_folder(recognizer: Recognizer, folder: Path) -> str:
    """Write config.json, model.safetensors and README.md into a new folder.

    Raises:
        UsageError: the folder has something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder: choose another, or remove it")
    model = HubModel(recognizer)
    model.save_pretrained(folder, config=model.config())
    return "config.json, model.safetensors and README.md; read README.md before you share it"
