"""Rooms import each other's figures only where they draw: statistics stay with sweeps, figures with reports.

Lightning itself imports torchmetrics, which imports scipy and matplotlib where they are installed. So the tests look at
which of our modules are loaded; tests/test_architecture.py says which of them may import the two libraries.
"""

import subprocess
import sys

import pytest


def loaded_after_import(module):
    """Names in sys.modules of a new process that imports the module."""
    code = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def within(loaded, package):
    return sorted(name for name in loaded if name == package or name.startswith(package + "."))


@pytest.mark.slow
def test_fit_loads_no_figures_and_no_statistics():
    loaded = loaded_after_import("gcvideo.cli.training, gcvideo.training.callbacks")
    assert within(loaded, "gcvideo.training")
    for package in ("gcvideo.report", "gcvideo.sweep", "gcvideo.dataset_tools"):
        assert within(loaded, package) == []


@pytest.mark.slow
def test_a_report_loads_no_statistics():
    loaded = loaded_after_import("gcvideo.report.write")
    assert within(loaded, "gcvideo.report.plots")
    assert within(loaded, "gcvideo.sweep") == []


@pytest.mark.slow
@pytest.mark.parametrize("module", ("gcvideo.dataset_tools.check", "gcvideo.sweep.file"))
def test_scipy_is_not_loaded(module):
    loaded = loaded_after_import(module)
    assert within(loaded, module) == [module]
    assert within(loaded, "scipy") == []


@pytest.mark.parametrize(
    "module", ("gcvideo.figures", "gcvideo.sweep.page, gcvideo.sweep.run", "gcvideo.comparison.page")
)
def test_figures_load_no_training(module):
    """Three rooms draw with the same colours, and `gcvideo check` must not pay for the training of reports.

    Neither must a sweep: its runs are processes of their own.
    """
    loaded = loaded_after_import(module)
    assert within(loaded, "torch") == []
    assert within(loaded, "gcvideo.training") == []
