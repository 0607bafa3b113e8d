"""Grad-CAM in 3D: which positions speak for a class.

Paper: "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (Selvaraju et al.,
arXiv:1610.02391), equations 1 and 2, with the mean over frames as well as places:

    L = ReLU(sum_k alpha_k A_k),    alpha_k = mean over all positions of dy / dA_k

A are the features of a layer, y is the logit of a class. Reference implementation: captum's `LayerGradCam` with
`relu_attributions=True`.

Letters: B clips, C channels, T frames, K classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcvideo.errors import UsageError


def grad_cam(net: nn.Module, clips: Tensor, classes: Sequence[int] | None = None, layer: str | None = None) -> Tensor:
    """Maps of a class over the positions of a layer.

    Args:
        net: [B, 3, T, H, W] -> logits [B, K], in evaluation mode; nothing here changes its mode.
        clips: its input.
        classes: index for each clip; default: of its largest logit.
        layer: name of a module with output [B, C, T', H', W']; default `last_stage`.

    Returns:
        [B, T', H', W'], at least 0, in the units of logit gradient x feature: only their ratios have a meaning.

    Raises:
        UsageError: no such layer, or its output has another shape; the logits do not depend on it, or a class is out of
            range.
    """
    name = last_stage(net) if layer is None else layer
    try:
        module = net.get_submodule(name)
    except AttributeError:
        raise UsageError(f"Grad-CAM: the network has no module {name!r}") from None
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 5:
            found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UsageError(f"Grad-CAM: expected output [B, C, T, H, W] of module {name!r}, got {found}")
        # Gradients are taken from here on, whatever is frozen. What follows gets a copy, which it may change in place.
        kept.append(output.detach().requires_grad_())
        return kept[-1].clone()

    handle = module.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = net(clips)  # [B, K]
    finally:
        handle.remove()
    scores = logits.gather(1, _classes(logits, classes)[:, None]).sum()  # a clip's logit depends on its features only
    if not kept or not scores.requires_grad:
        raise UsageError(f"Grad-CAM: the logits do not depend on the output of module {name!r}")
    features = kept[-1]
    (gradient,) = torch.autograd.grad(scores, features)
    weights = gradient.mean(dim=(2, 3, 4), keepdim=True)  # [B, C, 1, 1, 1]
    return (weights * features).sum(dim=1).relu().detach()


def last_stage(net: nn.Module) -> str:
    """Name of the module before the classifier: the last but one child that has parameters.

    Raises:
        UsageError: the network has fewer than two.
    """
    prefix = "blocks." if isinstance(getattr(net, "blocks", None), nn.ModuleList) else ""  # pytorchvideo's stages
    stages: Any = net.get_submodule("blocks") if prefix else net
    names = [name for name, child in stages.named_children() if next(child.parameters(), None) is not None]
    if len(names) < 2:
        raise UsageError(f"Grad-CAM: {type(net).__name__} has no stages: name a module")
    return prefix + names[-2]


def _classes(logits: Tensor, classes: Sequence[int] | None) -> Tensor:
    if classes is None:
        return logits.argmax(dim=1)
    chosen = torch.as_tensor(classes, device=logits.device)
    if chosen.shape != logits.shape[:1] or chosen.min() < 0 or chosen.max() >= logits.shape[1]:
        raise UsageError(f"Grad-CAM: expected {len(logits)} classes in 0 to {logits.shape[1] - 1}, got {list(classes)}")
    return chosen
