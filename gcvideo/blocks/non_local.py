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
- PySlowFast draws NL weights with std 0.01 and then, with those of all convolutions, by MSRA: `init="msra"`.

Letters: B batch, C channels, P inner channels, N positions, M positions of the keys (fewer after sub-sampling).
"""

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcvideo.blocks.family import Family, bottleneck_width, check_channels, check_features, pointwise
from gcvideo.blocks.layers import BatchNorm3d

__all__ = ["NonLocalBlock1d", "NonLocalBlock2d", "NonLocalBlock3d"]

Mode = Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"]

MODES: tuple[str, ...] = get_args(Mode)

Init = Literal["normal", "msra"]

INITS: tuple[str, ...] = get_args(Init)

_BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: BatchNorm3d}
_MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_POOL_SIZES = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}  # of a video only H and W: every frame stays a key


class NonLocalBlock(nn.Module):
    """NL for any number of position axes; see `NonLocalBlock3d`."""

    ndim: int

    def __init__(
        self,
        in_channels: int,
        ratio: float = 1 / 2,
        mode: Mode = "embedded_gaussian",
        sub_sample: bool = True,
        pool_first: bool = True,
        use_scale: bool = True,
        norm: bool = True,
        init: Init = "normal",
    ):
        super().__init__()
        self.in_channels = check_channels(in_channels)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
        if init not in INITS:
            raise ValueError(f"init must be one of {INITS}, got {init!r}")
        self.ratio = ratio
        self.mode = mode
        self.sub_sample = sub_sample
        self.pool_first = pool_first
        self.use_scale = use_scale
        self.init = init
        self.planes = bottleneck_width(in_channels, ratio)
        embedded = mode != "gaussian"  # which compares the features themselves
        # Names and order of the layers are those of pytorchvideo: they are the state-dict keys and the random draws.
        self.conv_theta = pointwise(self.ndim, in_channels, self.planes) if embedded else None
        self.conv_phi = pointwise(self.ndim, in_channels, self.planes) if embedded else None
        self.conv_g = pointwise(self.ndim, in_channels, self.planes)
        self.conv_concat = pointwise(self.ndim, 2 * self.planes, 1, bias=False) if mode == "concatenation" else None
        self.conv_out = pointwise(self.ndim, self.planes, in_channels)
        self.norm = _BATCH_NORMS[self.ndim](in_channels) if norm else None
        self.pool = _MAX_POOLS[self.ndim](_POOL_SIZES[self.ndim]) if sub_sample else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights, zero biases; the last layer (gamma of the norm, else W_z) is zero. `init` sets their std."""
        for conv in (self.conv_theta, self.conv_phi, self.conv_g, self.conv_concat, self.conv_out):
            if conv is not None:
                if self.init == "msra":  # std sqrt(2 / output channels)
                    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                else:
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
            index = _flat_indices(queries, theta.shape[2]).to(x.device)
            theta = theta[:, :, index]  # [B, P, Q]
        keys = phi.flatten(2)  # [B, P, M]
        if self.mode == "concatenation":
            a, b = self._halves(theta, keys)  # [B, Q], [B, M]
            weights = (a[:, :, None] + b[:, None]).relu() / keys.shape[2]  # [B, Q, M]
        elif self.mode == "dot_product":
            weights = theta.transpose(1, 2) @ keys / keys.shape[2]
        else:
            weights = (theta.transpose(1, 2) @ keys * self._scale()).softmax(dim=2)
        return weights.unflatten(2, phi.shape[2:])  # [B, Q, *key positions]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *positions] -> same shape and dtype; the identity at initialisation.

        Raises:
            ValueError: `x` has another number of axes or of channels, or is too small to sub-sample.
        """
        projected = self._project(x)
        theta, phi, g = (features.flatten(2).transpose(1, 2) for features in projected)  # [B, N, P], twice [B, M, P]
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
        check_features(x, self.in_channels, self.ndim)
        window = _POOL_SIZES[self.ndim]
        if self.sub_sample and any(size < least for size, least in zip(x.shape[2:], window, strict=True)):
            raise ValueError(f"sub_sample needs positions of at least {window}, got {tuple(x.shape)}")
        # Queries are never pooled: the output has all N positions.
        theta = x if self.conv_theta is None else self.conv_theta(x)
        if self.pool_first:
            pooled = self.pool(x)
            phi = pooled if self.conv_phi is None else self.conv_phi(pooled)
            return theta, phi, self.conv_g(pooled)
        phi = x if self.conv_phi is None else self.conv_phi(x)
        return theta, self.pool(phi), self.pool(self.conv_g(x))

    def _scale(self) -> float:
        return self.planes**-0.5 if self.use_scale and self.mode == "embedded_gaussian" else 1.0

    def _softmax(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """[B, N, P], without an N x M matrix.

        torch's memory-efficient kernels take equal widths and contiguous channels; anything else makes it fall back
        to the matrix. In "gaussian" the queries and keys have C channels and the values P < C: zeros fill the values.
        """
        values = F.pad(g, (0, theta.shape[2] - g.shape[2]))
        q, k, v = (features[:, None].contiguous() for features in (theta, phi, values))  # one head: [B, 1, N or M, P]
        y = F.scaled_dot_product_attention(q, k, v, scale=self._scale())
        return y[:, 0, :, : self.planes]  # [B, N, P], without the head axis and the zeros

    def _halves(self, theta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """w . [theta_i, phi_j] = a_i + b_j: [B, P, N], [B, P, M] -> a [B, N], b [B, M], at least float32."""
        w = cast(nn.Conv3d, self.conv_concat).weight.flatten()
        # The weight of the concatenated pair splits into a half for theta and one for phi, so no pair is ever formed.
        a, b = w[: self.planes] @ theta, w[self.planes :] @ phi
        # At least float32, because they enter running sums over all keys, which overflow in float16.
        return (a, b) if a.dtype == torch.double else (a.float(), b.float())

    def _concatenation(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """y_i = 1/M sum_j ReLU(a_i + b_j) g_j, [B, N, P], without an N x M matrix.

        The terms with b_j > -a_i are a_i + b_j, the others zero. With the keys in descending order of b, the former
        are the first n_i, so y_i = (a_i G[n_i] + H[n_i]) / M with the running sums G of g_j and H of b_j g_j, which
        begin with the empty sum:

            b = [3, 1, -2]     G = [0, g1, g1+g2, g1+g2+g3]     H = [0, 3 g1, 3 g1 + g2, 3 g1 + g2 - 2 g3]
            a = 1.5            b > -1.5 holds for n = 2 keys     y = (1.5 (g1 + g2) + 3 g1 + g2) / 3
            a = -4             b > 4 holds for n = 0 keys        y = 0
        """
        a, b = self._halves(theta.transpose(1, 2), phi.transpose(1, 2))  # [B, N], [B, M]
        b, order = b.sort(dim=1, descending=True)
        g = g.to(b.dtype).gather(1, order[..., None].expand_as(g))  # [B, M, P], in the order of b
        n = torch.searchsorted(-b.detach(), a.detach())  # [B, N]: searchsorted needs ascending values, hence -b < a
        n = n[..., None].expand(-1, -1, self.planes)  # [B, N, P]
        g_sums = F.pad(g.cumsum(dim=1), (0, 0, 1, 0)).gather(1, n)  # G[n_i]
        bg_sums = F.pad((b[..., None] * g).cumsum(dim=1), (0, 0, 1, 0)).gather(1, n)  # H[n_i]
        return (a[..., None] * g_sums + bg_sums) / b.shape[1]

    def extra_repr(self) -> str:
        pooling = ("pool -> conv" if self.pool_first else "conv -> pool") if self.sub_sample else "no pool"
        return f"{self.in_channels}, ratio={self.ratio}, {self.mode}, {pooling}, use_scale={self.use_scale}"


def _flat_indices(queries: Tensor | Sequence[int], size: int) -> Tensor:
    """Checked indices of positions [Q]."""
    index = torch.as_tensor(queries)
    is_list = index.ndim == 1 and index.numel() > 0 and not index.is_floating_point()
    if not is_list or index.min() < 0 or index.max() >= size:
        raise ValueError(f"queries must be flat indices in [0, {size}), got {queries}")
    return index


class NonLocalBlock1d(NonLocalBlock):
    """NL block for sequences [B, C, T]; sub-sampling halves T. Arguments: see `NonLocalBlock3d`."""

    ndim = 1


class NonLocalBlock2d(NonLocalBlock):
    """NL block for images [B, C, H, W]. Arguments: see `NonLocalBlock3d`."""

    ndim = 2


class NonLocalBlock3d(NonLocalBlock):
    """NL block for video features [B, C, T, H, W]: every position attends to all positions of all frames.

    Args:
        in_channels: C.
        ratio: inner width P as a fraction of C.
        mode: 'embedded_gaussian', 'gaussian', 'dot_product' or 'concatenation'.
        sub_sample: halve H and W of the keys by a max-pool of (1, 2, 2).
        pool_first: pool and then project the keys (video-nonlocal-net, PySlowFast, pytorchvideo), else project and
            then pool (the paper's text, mmcv).
        use_scale: divide theta . phi by sqrt(P); only 'embedded_gaussian' has a scale.
        norm: BatchNorm after W_z, whose gamma starts at zero; without it W_z starts at zero.
        init: std of the initial weights: 'normal' 0.01 (the paper's code, mmcv), 'msra' sqrt(2 / output channels)
            (PySlowFast): 0.06 to 0.09 for theta and phi in res4 and res3, so theta . phi starts 39 to 78 times larger.

    Raises:
        ValueError: `ratio * in_channels < 1`, an unknown mode or init.
    """

    ndim = 3


NON_LOCAL = Family((NonLocalBlock1d, NonLocalBlock2d, NonLocalBlock3d), site="after_block")
