"""Settings: frozen dataclasses that live next to the code they configure, and their form in checkpoints.

A class of settings checks its own values in `__post_init__`. A checkpoint stores it as nested dicts of plain values,
because `torch.load(weights_only=True)` refuses classes that it does not know; the same mapping is accepted wherever the
instance is, so that a checkpoint's settings can be passed back as they are.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from gcvideo.errors import UsageError

Settings = TypeVar("Settings")


def as_settings(cls: type[Settings], value: Settings | Mapping[str, Any]) -> Settings:
    """Instance of a settings class, from an instance or from a mapping of its fields.

    Args:
        cls: a dataclass; its fields may be dataclasses, too.
        value: an instance of `cls`, or field name -> value. Fields that the mapping does not have get their default.
            A list becomes a tuple where the field is a tuple (YAML and JSON have no tuples).

    Raises:
        UsageError: a key that is not a field, or neither an instance nor a mapping.
        ValueError: a value out of range; raised by `cls` itself.
    """
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise UsageError(f"expected {cls.__name__} or a mapping of its fields, got {type(value).__name__}")
    hints = get_type_hints(cls)
    unknown = [str(key) for key in value if key not in hints]
    if unknown:
        raise UsageError(f"{cls.__name__}: unknown key {', '.join(unknown)}; expected some of {', '.join(hints)}")
    return cls(**{name: _as_field(hints[name], item) for name, item in value.items()})


def as_plain(settings: Any) -> dict[str, Any]:
    """Inverse of `as_settings`: nested dicts, lists, str, int, float, bool and None only."""
    return {field.name: _plain_value(getattr(settings, field.name)) for field in fields(settings)}


def _as_field(hint: Any, value: Any) -> Any:
    """A value in the type of its field: a nested mapping to its dataclass, a list to a tuple."""
    for choice in _choices(hint):
        if isinstance(value, Mapping) and is_dataclass(choice):
            return as_settings(choice, value)  # type: ignore[arg-type]
        if isinstance(value, list) and get_origin(choice) is tuple:
            return tuple(value)
    return value


def _choices(hint: Any) -> tuple[Any, ...]:
    """The members of a union; a type that is not a union is its only choice."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _plain_value(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):  # is_dataclass is true of classes, too
        return as_plain(value)
    if isinstance(value, Mapping):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(item) for item in value]
    return value
