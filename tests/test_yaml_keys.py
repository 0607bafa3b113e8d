"""Doubled keys of YAML, wherever they stand."""

import pytest
import yaml

from gcvideo.yaml_keys import doubled_key


@pytest.mark.parametrize(
    ("text", "expected"),
    (
        ("a: 1\nb: 2\n", None),
        ("a: 1\na: 2\n", ("a", 2, 1)),
        ("a: {b: 1, b: 2}\n", ("b", 1, 1)),
        ("x:\n  a: 1\n  c: 3\n  a: 2\n", ("a", 4, 2)),
        ("x: {a: 1}\ny: {a: 1}\n", None),
        ("a: a\nb: [a, a]\n", None),
        ("- a: 1\n- a: 1\n", None),
        ("- {a: 1}\n- {a: 1,\n   'a': 2}\n", ("a", 3, 2)),
        ("? [a]\n: 1\nb: 1\n? [a]\n: 2\nb: 2\n", ("b", 6, 3)),
        ("a: &x {b: 1}\nc: *x\nd: *x\nc: 1\n", ("c", 4, 2)),
        ("", None),
        ("a", None),
    ),
)
def test_doubled_keys(text, expected):
    assert doubled_key(text) == expected


def test_the_message_and_what_is_no_yaml():
    assert str(doubled_key("lr: 1\nx: 2\nlr: 3\n")) == "the key 'lr' stands in line 1 already"
    with pytest.raises(yaml.YAMLError):
        doubled_key("a: [\n")
