"""What all families of blocks share: the record of a family."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Family:
    """One kind of block.

    Args:
        blocks: its classes for features of 1, 2 and 3 position axes. The arguments after `in_channels` are the
            options of the family.
        site: where in a residual block its paper puts it; see `gcvideo.insertion.insert`.
    """

    blocks: tuple[type[nn.Module], type[nn.Module], type[nn.Module]]
    site: str

    def block(self, ndim: int) -> type[nn.Module]:
        """The class for features of `ndim` position axes."""
        return self.blocks[ndim - 1]
