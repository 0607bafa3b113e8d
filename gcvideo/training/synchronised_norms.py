"""Lightning's `sync_batchnorm` for networks with inserted blocks.

torch's conversion replaces each batch norm by a new module and does not take its hooks along. A block that is attached
to a norm, as GC blocks are by default, would silently be gone.
"""

from collections.abc import Callable

from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from pytorch_lightning.strategies import Strategy
from torch import nn


class SynchronisedNorms(TorchSyncBatchNorm):
    """The conversion, and back, with the forward hooks of the norms."""

    def apply(self, model: nn.Module) -> nn.Module:
        """See Lightning."""
        return _with_hooks(super().apply, model)

    def revert(self, model: nn.Module) -> nn.Module:
        """See Lightning."""
        return _with_hooks(super().revert, model)


def keep_hooks_of_synchronised_norms(strategy: Strategy) -> None:
    """Replace Lightning's plugin, if `sync_batchnorm` has set it; before the strategy uses it."""
    if type(getattr(strategy, "_layer_sync", None)) is TorchSyncBatchNorm:
        strategy._layer_sync = SynchronisedNorms()  # type: ignore[attr-defined]


def _with_hooks(convert: Callable[[nn.Module], nn.Module], model: nn.Module) -> nn.Module:
    before = dict(model.named_modules())
    converted = convert(model)
    for name, module in converted.named_modules():
        if module is not before[name]:
            module._forward_hooks.update(before[name]._forward_hooks)
            module._forward_pre_hooks.update(before[name]._forward_pre_hooks)
    return converted
