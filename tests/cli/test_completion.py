"""Completion in real shells: verbs, options, choices."""

import shutil
import subprocess

import pytest

from gcvideo.cli.completion import SHELLS, completion_script
from gcvideo.cli.main import VERBS, main

pytest.importorskip("shtab")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Shell -> file of its script."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / shell).write_text(completion_script(shell, VERBS))
    return {shell: folder / shell for shell in SHELLS}


def completed(script, *words):
    """What bash offers for the last of the words."""
    line = " ".join(words)
    code = f"""
source {script}
function_name=$(complete -p gcvideo | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=({" ".join(f'"{word}"' for word in words)}); COMP_CWORD={len(words) - 1}
COMP_LINE="{line}"; COMP_POINT={len(line)}
$function_name gcvideo "{words[-1]}" "{words[-2]}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [word.strip() for word in done.stdout.split()]


@pytest.mark.parametrize(
    ("words", "expected"),
    (
        (("gcvideo", "swe"), ["sweep"]),
        (("gcvideo", "fit", "--data.clip.fr"), ["--data.clip.frames"]),
        (("gcvideo", "fit", "--trainer.max_e"), ["--trainer.max_epochs"]),
        (("gcvideo", "fit", "--model.blocks", "gc_a"), ["gc_all"]),
        (("gcvideo", "sweep", "--grace"), ["--grace_s"]),
        (("gcvideo", "completion", "z"), ["zsh"]),
    ),
)
def test_bash_completes(scripts, words, expected):
    assert completed(scripts["bash"], *words) == expected


def test_every_verb_is_offered(scripts):
    offered = completed(scripts["bash"], "gcvideo", "")
    assert {"fit", "validate", "test", "doctor", *VERBS} <= set(offered)


def test_zsh_reads_its_script(scripts):
    zsh = shutil.which("zsh")
    if zsh is None:
        assert "#compdef gcvideo" in scripts["zsh"].read_text()
        pytest.skip("zsh is not installed: its script is only written")
    subprocess.run([zsh, "-n", scripts["zsh"]], check=True, timeout=60)


def test_the_verb_prints_the_script(scripts, capsys):
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out.strip() == scripts["bash"].read_text().strip()
