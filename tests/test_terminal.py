"""Names from files do not command the terminal."""

import warnings

import pytest

from gcvideo.cli.main import main
from gcvideo.terminal import MAX_CHARS, printable, printable_warnings


def test_control_characters_are_escaped_and_other_text_is_not():
    assert printable("\x1b]0;x\x07\r\x08\x9b\u202e") == r"\x1b]0;x\x07\r\x08\x9b\u202e"
    assert printable("näme 体操\nsecond line") == "näme 体操\nsecond line"
    assert printable(5) == "5"
    assert len(printable("x" * 10**6)) == MAX_CHARS + 3


def test_warnings_of_the_block_are_escaped():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with printable_warnings():
            warnings.warn("a\x1b[2Jb", stacklevel=1)
    assert [str(warning.message) for warning in seen] == [r"a\x1b[2Jb"]


@pytest.mark.parametrize(
    ("arguments", "content"),
    (
        (["check", "a.csv", "--workers", "1"], "path,label\n\x1b[2J.mp4,x\n"),
        (["test", "--ckpt_path", "\x1b[2J"], ""),
        (["sweep", "a.csv"], '"\\e[2J": 1'),
        (["fit", "--config", "a.csv"], '"\\e[2J": 1'),
        (["fit", "--model.\x1b[2J", "1"], ""),
    ),
)
def test_messages_are_escaped(tmp_path, monkeypatch, capsys, arguments, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(content)
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    printed = capsys.readouterr()
    assert status in (1, 2)
    assert "\x1b" not in printed.out + printed.err
    assert r"\x1b[2J" in printed.out + printed.err
