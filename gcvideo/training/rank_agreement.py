"""All ranks of a run must have the same videos and the same settings.

Otherwise a run waits for ever at its end, or trains on labels that mean different classes on different machines.
"""

from typing import Any

import pytorch_lightning as pl
import torch

from gcvideo.errors import UsageError

_MAY_DIFFER = {"data.manifest", "data.root", "data.predict", "data.num_workers", "data.loading", "model.weights"}
"""Settings that may differ, because paths do on several machines."""


def refuse_differences(trainer: pl.Trainer, module: pl.LightningModule, host: str) -> None:
    """Compare videos and settings of all ranks; every rank must call it.

    Raises:
        UsageError: on every rank, the same message.
    """
    if trainer.world_size == 1 or not torch.distributed.is_initialized():
        return
    mine = {"host": host, **_facts(trainer, module)}
    facts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(facts, mine)
    if message := difference(facts):
        raise UsageError(message)


def difference(facts: list[dict[str, str]]) -> str | None:
    """What differs between the ranks, or None.

    Args:
        facts: of each rank: name -> value, and its "host".
    """
    for name in facts[0]:
        if name == "host":
            continue
        ranks: dict[str, list[str]] = {}
        for rank, own in enumerate(facts):
            ranks.setdefault(str(own.get(name)), []).append(f"rank {rank} on {own['host']}")
        if len(ranks) > 1:
            shown = [f"{value} on {', '.join(who[:4])}{' ...' * (len(who) > 4)}" for value, who in ranks.items()]
            return f"the ranks do not agree: {name} is {'; '.join(shown[:4])}"
    return None


def _facts(trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, str]:
    data: Any = getattr(trainer, "datamodule", None)
    facts = {
        f"the list of videos ({stage})": f"{len(dataset)} videos, digest {dataset.videos.digest[:8]},"
        for stage, dataset in getattr(data, "datasets", {}).items()
    }
    for group, owner in (("data", data), ("model", module)):
        for key, value in getattr(owner, "hparams", {}).items():
            if f"{group}.{key}" not in _MAY_DIFFER:
                facts[f"{group}.{key}"] = str(value)
    return facts
