"""The help of the training verbs: a line or two for each option of ours, Lightning's Trainer by name.

jsonargparse's own help has 731 lines for `fit`, and takes some four seconds because it needs torch and Lightning.
This one is generated from the parser, stored in help/VERB.txt, and printed from there; a test compares the two. After a
change of an option: python -m gcvideo.cli.write_help
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Literal, get_args, get_origin

WIDTH = 118

DESCRIPTIONS = {
    "fit": "Train a model on the videos of a manifest.",
    "validate": "Evaluate one centre view of each validation video.",
    "test": "Evaluate many views of each test video, and write report.json and report.html.",
}

# Of Lightning's own options, whose texts are long and partly not true here.
_RUN_OPTIONS = {
    "config": "settings in YAML; of several files, later ones win",
    "print_config": "print the settings and stop; --print_config=skip_default prints only those that differ",
    "seed_everything": "seed of everything random; true draws one",
    "ckpt_path": "checkpoint: a file, or last or best of this run; fit resumes from it, and auto starts or resumes",
    "verbose": "print the metrics",
}

# Of `trusted.restrict_imports`, which no parser has: a configuration must not be able to set it.
_TRUST = """\
  --trust
      package whose code configuration files may name, besides gcvideo, torch, torchvision, torchmetrics and Lightning;
      names that are typed need no trust"""

OFTEN_USED = ("accelerator", "devices", "num_nodes", "strategy", "precision", "max_epochs", "accumulate_grad_batches",
              "gradient_clip_val", "limit_train_batches", "fast_dev_run", "overfit_batches", "logger", "callbacks",
              "profiler", "sync_batchnorm")  # fmt: skip
"""Arguments of the Trainer that help and completion name."""

_TRAINER = (
    "--trainer.NAME VALUE sets any argument of Lightning's Trainer; --print_config lists them with their defaults. "
    f"Often used: {', '.join(OFTEN_USED)}."
)


def stored_help(verb: str) -> str:
    """Help of a training verb, without importing torch."""
    return (files("gcvideo.cli") / "help" / f"{verb}.txt").read_text(encoding="utf-8")


def help_text(verb: str, actions: Sequence[Any]) -> str:
    """Help of a training verb whose parser has these actions."""
    lines = [
        f"usage: gcvideo {verb} [--config FILE ...] [--NAME VALUE ...]",
        "",
        DESCRIPTIONS[verb],
        "",
        "Settings come from the defaults, the files in their order, and the command line; later ones win.",
    ]
    for group in ("", "data", "model"):
        lines += ["", f"{group or 'run'}:"]
        for action in actions:
            if _group(action) == group:
                lines += _option_lines(action)
        lines += [_TRUST] if group == "" else []
    trainer = textwrap.fill(_TRAINER, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join([*lines, "", "trainer:", trainer, ""])


def _group(action: Any) -> str | None:
    """First part of the option's name; None for what is not listed: sections, and the help itself."""
    group, dot, _ = action.dest.partition(".")
    if not action.option_strings or action.dest == "help" or action.dest.endswith(".help"):
        return None
    if action.dest == "config":
        return ""
    is_section = "CONFIG" in str(action.metavar)  # such as --model, --model.optim: a file for the whole group
    return None if is_section else group if dot else ""


def _option_lines(action: Any) -> Iterator[str]:
    """Name, choices and default of one option, and what it means."""
    choices = _choices(getattr(action, "_typehint", None))
    value = "{" + ", ".join(map(str, choices)) + "}" if choices else ""
    # argparse.SUPPRESS stands for no default at all.
    has_default = action.default is not None and "SUPPRESS" not in str(action.default)
    default = list(action.default) if isinstance(action.default, tuple) else action.default
    parts = (f"--{action.dest}", value, f"(default: {default})" if has_default else "")
    head = " ".join(part for part in parts if part)
    yield from textwrap.wrap(head, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
    text = _RUN_OPTIONS.get(action.dest) or " ".join(str(action.help or "").split())
    # jsonargparse adds "(type: ..., default: ...)"
    text = re.sub(r"\s*\((required|type|default).*$", "", text).removesuffix(".")
    yield from textwrap.wrap(text, WIDTH, initial_indent="      ", subsequent_indent="      ", break_on_hyphens=False)


def _choices(typehint: Any) -> tuple[Any, ...]:
    """Values of a `Literal`, also inside of a union."""
    if get_origin(typehint) is Literal:
        return get_args(typehint)
    return tuple(value for part in get_args(typehint) if get_origin(part) is Literal for value in get_args(part))
