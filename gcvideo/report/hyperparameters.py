"""The settings of a training and of its test as one table."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def hyperparameters(training: Mapping[str, Any], test: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: setting, value in the training, value in the test where it differs."""
    trained, tested = dict(_leaves(training)), dict(_leaves(test))
    rows = []
    for name in [*trained, *(name for name in tested if name not in trained)]:
        before, after = trained.get(name, ""), tested.get(name, "")
        rows.append([name, before, "" if after == before else after])
    return ["setting", "training", "test"], rows


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted name and text of every setting that is not null, without class names: there may be 700."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        elif value is not None and name != "class_names":
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)
