"""The random numbers of the training loop, such as those of dropout: apart on each rank, and resumed exactly.

The data needs nothing of this: each of its items has a generator of its own, see `data.dataset`.
"""

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import Callback

State = dict[str, Any]


class RandomState(Callback):
    """Seeds the ranks apart, and stores the generators of all ranks in checkpoints.

    Lightning seeds all ranks with the same number, so that they would draw equal dropout masks. Rank 0 keeps that seed:
    a run on one device is what it would be without this callback.

    A run that resumes on another number of ranks has no state for some of them: all are then seeded anew.
    """

    def __init__(self) -> None:
        self._restored: list[State] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if len(self._restored) != trainer.world_size and trainer.global_rank > 0:
            # Not before: the networks of all ranks are built from the same seed.
            pl.seed_everything(torch.initial_seed() % 2**31 + trainer.global_rank, verbose=False)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Not in on_train_start: what comes in between, such as the validation of a resumed run, draws as well.
        if len(self._restored) == trainer.world_size:
            _set_state(self._restored[trainer.global_rank])
        self._restored = []

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if len(self._restored) == trainer.world_size:  # no batch since the run was resumed: theirs are still to come
            checkpoint["random_states"] = self._restored
            return
        states = [_state()]
        if trainer.world_size > 1:
            states = [{} for _ in range(trainer.world_size)]
            dist.all_gather_object(states, _state())
        checkpoint["random_states"] = states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._restored = checkpoint.get("random_states", [])


def _state() -> State:
    """The generators of this process, as tensors and plain values: a checkpoint is loaded weights-only."""
    numpy: Any = np.random.get_state(legacy=False)
    version, words, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        "numpy": {
            **numpy,
            "state": {**numpy["state"], "key": torch.from_numpy(numpy["state"]["key"].astype(np.int64))},
        },
        "python": [version, torch.tensor(words), next_gauss],
    }


def _set_state(state: State) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"])
    numpy = state["numpy"]
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].numpy().astype(np.uint32)}})
    version, words, next_gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), next_gauss))
