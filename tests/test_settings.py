"""Settings as mappings and back: what checkpoints store."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from gcvideo.errors import UsageError
from gcvideo.settings import as_plain, as_settings


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] = (1, 2)
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    optional: Inner | None = None
    mean: float | tuple[float, float, float] = 0.5
    names: list[str] | None = None
    options: dict[str, Any] = field(default_factory=dict)


def test_plain_values_and_back():
    settings = Outer(Inner((3, 4), "b"), Inner(), (0.1, 0.2, 0.3), ["x"], {"depth": (1, 2)})
    plain = as_plain(settings)
    assert plain == {
        "inner": {"size": [3, 4], "kind": "b"},
        "optional": {"size": [1, 2], "kind": "a"},
        "mean": [0.1, 0.2, 0.3],
        "names": ["x"],
        "options": {"depth": [1, 2]},
    }
    again = as_settings(Outer, plain)
    assert (again.inner, again.optional, again.mean) == (settings.inner, settings.optional, settings.mean)
    assert again.names == ["x"]  # a list stays a list
    assert as_plain(again) == plain


def test_instances_and_defaults_pass():
    settings = Outer(mean=0.25)
    assert as_settings(Outer, settings) is settings
    assert as_settings(Outer, {}) == Outer()
    assert as_settings(Outer, {"mean": 0.25}) == settings


@pytest.mark.parametrize(
    ("value", "message"),
    (
        ({"iner": {}}, "Outer: unknown key iner; expected some of inner, optional, mean, names, options"),
        ({"inner": {"sise": 1}}, "Inner: unknown key sise; expected some of size, kind"),
        ([1], "expected Outer or a mapping of its fields, got list"),
        (Inner(), "expected Outer or a mapping of its fields, got Inner"),
    ),
)
def test_what_is_not_a_setting_is_refused(value, message):
    with pytest.raises(UsageError, match=message):
        as_settings(Outer, value)
