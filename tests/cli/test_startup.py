"""What a command imports before it does anything. Nothing is timed here; benchmarks/startup.py measures."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gcvideo.cli.main import TRAINING_VERBS, main

ROOT = Path(__file__).parents[2]


def run(code, *arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


IMPORT = "import gcvideo; gcvideo.__version__"
MAIN = "from gcvideo.cli.main import main; assert main() == 0"


@pytest.mark.parametrize(
    ("code", "arguments"),
    (
        (IMPORT, ()),
        (MAIN, ("--version",)),
        (MAIN, ("--help",)),
        (MAIN, ("doctor", "--help")),
        *((MAIN, (verb, "--help")) for verb in TRAINING_VERBS),
    ),
)
def test_import_and_help_need_only_the_standard_library(tmp_path, code, arguments):
    modules = f"import sys; before = set(sys.modules); {code}; print(*(set(sys.modules) - before))"
    names = run(modules, *arguments, cwd=tmp_path).stdout.splitlines()[-1].split()
    assert {name.partition(".")[0] for name in names} - {"__mp_main__", *sys.stdlib_module_names} == {"gcvideo"}


@pytest.mark.slow
def test_a_training_verb_imports_nothing_of_other_verbs_and_freezes_its_modules(tmp_path):
    code = """
import gc, json, sys
from gcvideo.cli.main import main
status = main()
print(json.dumps([status, gc.get_freeze_count(), gc.isenabled(), list(sys.modules)]))
"""
    done = run(code, "test", "--name", "none", cwd=tmp_path)
    status, num_frozen, is_enabled, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 2
    assert num_frozen > 100_000  # objects of torch, Lightning and what they import
    assert is_enabled
    # At exit, bindings that look for leaks must find nothing frozen: the error is the last line.
    assert done.stderr.splitlines()[-1].startswith("error: no checkpoint ")
    ours = {name.split(".")[1] for name in modules if name.startswith("gcvideo.")}
    others = {"analysis", "cluster", "comparison", "dataset_tools", "doctor", "figures", "pages", "report", "sweep"}
    assert not ours & others
    assert not {"dask", "decord", "jinja2", "pebble", "shtab", "tensorboard", "torchcodec"} & set(modules)


def test_a_program_that_calls_main_keeps_its_garbage_collector(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = gc.get_freeze_count()
    assert main(["test", "--name", "none"]) == 2
    assert "no checkpoint" in capsys.readouterr().err
    assert gc.get_freeze_count() <= before  # frozen objects may still be freed one by one
    assert gc.isenabled()
