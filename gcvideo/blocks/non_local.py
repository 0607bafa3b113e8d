"""Non-local (NL) block in 1D, 2D and 3D, in memory linear in the number of positions.

Paper: "Non-local Neural Networks" (Wang et al., CVPR 2018, arXiv:1711.07971), equations 1 to 6:

    z_i = x_i + W_z y_i,    y_i = 1/norm sum_j f(x_i, x_j) g(x_j)

    embedded_gaussian   f = exp(theta_i . phi_j / sqrt(P)),  norm = sum_j f
    gaussian            f = exp(x_i . x_j),                  norm = sum_j f
    dot_product         f = theta_i . phi_j,                 norm = M
    concatenation       f = ReLU(w . [theta_i, phi_j]),      norm = M

Reference implementations: pytorchvideo `layers/nonlocal_net.py` (whose state-dict keys these are), PySlowFast
`models/nonlocal_helper.py`, mmcv `cnn/bricks/non_local.py`, video-nonlocal-net `lib/models/nonlocal_helper.py`.

Differences, all deliberate:
- No N x M matrix is formed: the softmax modes go through `scaled_dot_product_attention`; dot_product is
  theta (phi^T g); concatenation sorts the keys (see `_concatenation`).
- mmcv's embedded_gaussian is `pool_first=False`; its gaussian ignores the scale, as here.

Letters: B batch, C channels, P inner channels, N positions, M positions of the keys (fewer after sub-sampling).
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcvideo.blocks.family import Family
from gcvideo.blocks.ranked import RankedBlock

__all__ = ["NonLocalBlock1d", "NonLocalBlock2d", "NonLocalBlock3d"]

Mode = Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"]

MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")

_BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_POOL_SIZES = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}


class _NonLocalBlock(RankedBlock):
    def __init__(
        self,
        in_channels: int,
        ratio: float = 1 / 2,
        mode: Mode = "embedded_gaussian",
        sub_sample: bool = True,
        pool_first: bool = True,
        use_scale: bool = True,
        norm: bool = True,
    ):
        super().__init__(in_channels)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
        self.ratio, self.mode = ratio, mode
        self.sub_sample, self.pool_first, self.use_scale = sub_sample, pool_first, use_scale
        self.planes = self._bottleneck(ratio)
        embedded = mode != "gaussian"
        self.conv_theta = self._conv(in_channels, self.planes) if embedded else None
        self.conv_phi = self._conv(in_channels, self.planes) if embedded else None
        self.conv_g = self._conv(in_channels, self.planes)
        self.conv_concat = self._conv(2 * self.planes, 1, bias=False) if mode == "concatenation" else None
        self.conv_out = self._conv(self.planes, in_channels)
        self.norm = _BATCH_NORMS[self.ndim](in_channels) if norm else None
        self.pool = _MAX_POOLS[self.ndim](_POOL_SIZES[self.ndim]) if sub_sample else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights (std 0.01), zero biases; the last layer (gamma of the norm, else W_z) is zero."""
        for conv in (self.conv_theta, self.conv_phi, self.conv_g, self.conv_concat, self.conv_out):
            if conv is not None:
                nn.init.normal_(conv.weight, std=0.01)
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)
        if self.norm is None:
            nn.init.zeros_(self.conv_out.weight)
        else:
            self.norm.reset_parameters()
            nn.init.zeros_(self.norm.weight)

    def attention(self, x: Tensor, queries: Tensor | Sequence[int] | None = None) -> Tensor:
        """Weight f / norm of every key position for the chosen query positions.

        Args:
            x: features [B, C, *positions].
            queries: Q flat indices of positions, in [0, N); None takes all N, which is an N x M matrix.

        Returns:
            [B, Q, *key positions]. In the softmax modes non-negative with sum 1 over the keys of a query; in the
            others the weights may be negative (dot_product) and sum to anything.

        Raises:
            ValueError: wrong shape of `x`, or an index out of range.
        """
        theta, phi, _ = self._project(x)
        theta = theta.flatten(2)  # [B, P, N]
        if queries is not None:
            index = torch.as_tensor(queries, device=x.device)
            known = index.ndim == 1 and not index.is_floating_point() and index.numel() > 0
            if not known or index.min() < 0 or index.max() >= theta.shape[2]:
                raise ValueError(f"queries must be flat indices in [0, {theta.shape[2]}), got {queries}")
            theta = theta[:, :, index]  # [B, P, Q]
        keys = phi.flatten(2)  # [B, P, M]
        if self.mode == "concatenation":
            a, b = self._halves(theta, keys)
            weights = (a[:, :, None] + b[:, None]).relu() / keys.shape[2]
        elif self.mode == "dot_product":
            weights = theta.transpose(1, 2) @ keys / keys.shape[2]
        else:
            weights = (theta.transpose(1, 2) @ keys * self._scale()).softmax(dim=2)
        return weights.unflatten(2, phi.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *positions] -> same shape and dtype; the identity at initialisation.

        Raises:
            ValueError: `x` has another rank or another number of channels, or is too small to sub-sample.
        """
        theta, phi, g = (features.flatten(2).transpose(1, 2) for features in self._project(x))
        if self.mode == "concatenation":
            y = self._concatenation(theta, phi, g)
        elif self.mode == "dot_product":
            y = theta @ (phi.transpose(1, 2) @ (g / g.shape[1]))  # divided first: sums over M overflow in float16
        else:
            y = self._softmax(theta, phi, g)
        y = y.transpose(1, 2).unflatten(2, x.shape[2:])  # [B, P, *positions]
        z = self.conv_out(y.to(g.dtype))
        if self.norm is not None:
            z = self.norm(z)
        return (x + z).to(x.dtype)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """theta [B, P, *positions], phi and g [B, P, *key positions]; theta and phi of gaussian have C channels."""
        self._check(x)
        if self.sub_sample and any(have < need for have, need in zip(x.shape[2:], _POOL_SIZES[self.ndim], strict=True)):
            raise ValueError(f"sub_sample needs positions of at least {_POOL_SIZES[self.ndim]}, got {tuple(x.shape)}")
        theta = x if self.conv_theta is None else self.conv_theta(x)
        if self.pool_first:
            pooled = self.pool(x)
            return theta, pooled if self.conv_phi is None else self.conv_phi(pooled), self.conv_g(pooled)
        return theta, self.pool(x if self.conv_phi is None else self.conv_phi(x)), self.pool(self.conv_g(x))

    def _scale(self) -> float:
        return self.planes**-0.5 if self.use_scale and self.mode == "embedded_gaussian" else 1.0

    def _softmax(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """[B, N, P]. Anything but contiguous channels and equal widths makes torch fall back to an N x M matrix."""
        values = F.pad(g, (0, theta.shape[2] - g.shape[2]))  # gaussian: C channels for queries and keys, P for values
        q, k, v = (features[:, None].contiguous() for features in (theta, phi, values))
        y = F.scaled_dot_product_attention(q, k, v, scale=self._scale())
        return y[:, 0, :, : self.planes]

    def _halves(self, theta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """w . [theta_i, phi_j] = a_i + b_j: [B, P, N], [B, P, M] -> a [B, N], b [B, M], at least float32."""
        w = cast(nn.Conv3d, self.conv_concat).weight.flatten()
        a, b = w[: self.planes] @ theta, w[self.planes :] @ phi
        return (a, b) if a.dtype == torch.double else (a.float(), b.float())

    def _concatenation(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """[B, N, P], without an N x M matrix.

        ReLU(a_i + b_j) is a_i + b_j for the keys with b_j > -a_i. With the keys in falling order of b these are the
        first n_i, so y_i = (a_i G[n_i] + H[n_i]) / M with the running sums G of g_j and H of b_j g_j.
        """
        a, b = self._halves(theta.transpose(1, 2), phi.transpose(1, 2))
        b, order = b.sort(dim=1, descending=True)
        g = g.to(b.dtype).gather(1, order[..., None].expand_as(g))  # [B, M, P]
        n = torch.searchsorted(-b.detach(), a.detach())[..., None].expand(-1, -1, self.planes)  # [B, N, P]
        g_sums = F.pad(g.cumsum(dim=1), (0, 0, 1, 0)).gather(1, n)
        bg_sums = F.pad((b[..., None] * g).cumsum(dim=1), (0, 0, 1, 0)).gather(1, n)
        return (a[..., None] * g_sums + bg_sums) / b.shape[1]

    def extra_repr(self) -> str:
        pooling = ("pool -> conv" if self.pool_first else "conv -> pool") if self.sub_sample else "no pool"
        return f"{self.in_channels}, ratio={self.ratio}, {self.mode}, {pooling}, use_scale={self.use_scale}"


class NonLocalBlock1d(_NonLocalBlock):
    """NL block for sequences [B, C, T]; sub-sampling halves T. Arguments: see `NonLocalBlock3d`."""

    ndim = 1


class NonLocalBlock2d(_NonLocalBlock):
    """NL block for images [B, C, H, W]. Arguments: see `NonLocalBlock3d`."""

    ndim = 2


class NonLocalBlock3d(_NonLocalBlock):
    """NL block for video features [B, C, T, H, W]: every position attends to all positions of all frames.

    Args:
        in_channels: C.
        ratio: inner width P as a fraction of C.
        mode: 'embedded_gaussian', 'gaussian', 'dot_product' or 'concatenation'.
        sub_sample: halve H and W of the keys by a max-pool of (1, 2, 2).
        pool_first: pool and then project the keys (video-nonlocal-net, PySlowFast, pytorchvideo), or project and then
            pool (the paper's text, mmcv).
        use_scale: divide theta . phi by sqrt(P); for 'embedded_gaussian' alone.
        norm: BatchNorm behind W_z, whose gamma starts at zero; without it W_z starts at zero.

    Raises:
        ValueError: `ratio * in_channels < 1` or an unknown mode.
    """

    ndim = 3


NON_LOCAL = Family((NonLocalBlock1d, NonLocalBlock2d, NonLocalBlock3d), site="after_block")
