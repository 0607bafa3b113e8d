"""`create_model`: a named network, blocks in it and, on request, weights."""

import difflib
import inspect
import logging
import warnings
from collections.abc import Mapping
from typing import Any

from torch import nn

from gcvideo.blocks import FAMILIES
from gcvideo.errors import UsageError
from gcvideo.insertion import Site
from gcvideo.models.head import Head, set_head
from gcvideo.models.norms import Norms, set_norms
from gcvideo.models.placement import At, BlocksName, insert_blocks, option_names
from gcvideo.models.published import block_options_for, head_for, load_for, other_function
from gcvideo.models.zoo import NETWORKS, NetworkName

log = logging.getLogger(__name__)

# Keywords of other libraries -> ours.
_ELSEWHERE = {"pretrained": "weights", "checkpoint_path": "weights", "model_name": "name", "drop_rate": "dropout"}


def create_model(
    name: NetworkName,
    blocks: BlocksName = "none",
    num_classes: int = 400,
    dropout: float = 0.5,
    at: At | None = None,
    site: Site | None = None,
    weights: str | None = None,
    head: Head | None = None,
    norms: Norms = "batch",
    **block_options: Any,
) -> nn.Module:
    """Build a classifier: [B, 3, T, H, W] -> logits [B, num_classes]; T = 1 for image models.

    Any T, H and W that survive the strides work; the published models take 8 frames of 224 x 224 or 256 x 256.

    Args:
        name: key of `NETWORKS`; see `list_models`.
        blocks: key of `PRESETS`. The paper's rows are "none", "nl5", "snl5", "gc5" (2 blocks in res3, 3 in res4) and
            "gc_all" (every block of res3 to res5). "gc5_even" and the like count 0,2 / 0,2,4 where "gc5" counts
            1,3 / 1,3,5. "gc", "nl", "snl" and "se" require `at`.
        num_classes: K, at least 1.
        dropout: probability before the classifier, in [0, 1).
        at: stage -> indices of its residual blocks, or "all", such as {"res4": "all", "res5": [2]}; replaces those
            of `blocks`. A list of names or globs of modules also works: see `insert_blocks`.
        site: see `insert`; default that of the block's paper: "after_block" for NL, "after_1x1" for the others.
        weights: a file, or a published checkpoint by name (see `list_weights`), which is downloaded once. Read by
            `load_weights`. Default: random weights.
        head: how images larger than 224 x 224 are evaluated. "pool" averages the feature map; "dense" classifies every
            window of 7 x 7 positions, averages the probabilities and returns their logarithms, as PySlowFast does.
            Default: that of a published checkpoint, else "pool".
        norms: "batch", or "group": group norms in the network (blocks keep theirs), for a training from scratch with
            batches of a few clips; see `models.norms`.
        **block_options: of the block: see `ContextBlock3d`, `NonLocalBlock3d`, `SqueezeExcitation3d`; for example
            ratio=1/16, pooling_type="avg", fusion_types=("channel_mul",), bottleneck="relu", mode="dot_product".
            Default: those of a published checkpoint with such blocks, else those of the block. Options of NL blocks
            that a file does not tell must be stated.

    Raises:
        UsageError: unknown name, blocks, keyword, stage or index, an option that the block does not have, a bad
            value, or weights that do not fit (WeightsError).
        DownloadError: the published checkpoint cannot be downloaded.

    Example:
        >>> from gcvideo import create_model, inserted_blocks
        >>> model = create_model("slowonly_r50", "gc", at={"res5": "all"}, ratio=1 / 16)
        >>> len(inserted_blocks(model))
        3
    """
    if name not in NETWORKS:
        raise UsageError(f"network must be one of {tuple(NETWORKS)}, got {name!r}")
    if num_classes < 1:
        raise UsageError(f"num_classes must be at least 1, got {num_classes}")
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout must be in [0, 1), got {dropout}")
    _check_keywords(block_options)
    options = block_options_for(weights, blocks, block_options)
    head = head_for(weights, head)
    model = NETWORKS[name](num_classes, dropout)
    set_norms(model, norms)
    set_head(model, head)
    insert_blocks(model, blocks, at, site, options)
    if weights is not None:
        # Names and shapes may fit and the function differ, so `load_weights` cannot notice it.
        problem = other_function(weights, name, blocks, options, head)
        if problem:
            warnings.warn(problem, stacklevel=2)
        log.info("%s", load_for(model, weights, name, options))
    return model


def _check_keywords(block_options: Mapping[str, Any]) -> None:
    """Refuse keywords that no block has, so that a typo is an error with blocks and without."""
    own = [name for name in inspect.signature(create_model).parameters if name != "block_options"]
    # The 3D class stands for all: the options are the same in 1D and 2D.
    options = [option for family in FAMILIES.values() for option in option_names(family.block(3))]
    names = list(dict.fromkeys([*own, *options]))
    for keyword in block_options:
        if keyword not in names:
            near = [_ELSEWHERE[keyword]] if keyword in _ELSEWHERE else difflib.get_close_matches(keyword, names, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"expected {', '.join(names)}"
            raise UsageError(f"create_model got an unexpected keyword {keyword!r}; {hint}")
