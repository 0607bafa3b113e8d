"""Figures of a report: they are drawn for any number of classes, and class names are never taken for formulas."""

import pytest
import torch

from gcvideo.report import plots
from gcvideo.report.interval import wilson
from gcvideo.report.summary import ClassAccuracy


@pytest.mark.parametrize("num_classes", (1, 6, 30, 400))
def test_figures_of_few_and_many_classes(num_classes):
    names = [f"class {k}" for k in range(num_classes)]
    for picture in (
        plots.confusion(torch.eye(num_classes), names),
        plots.per_class_bars([ClassAccuracy(name, 10, 0.5, wilson(0.5, 10)) for name in names]),
    ):
        assert picture.startswith(b"\x89PNG")


def test_filmstrip_with_and_without_attention():
    frames = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    plain = plots.filmstrip(frames)
    mapped = plots.filmstrip(frames, {"block 1": torch.rand(2, 4, 4)})
    assert plain.startswith(b"\x89PNG")
    assert len(mapped) > len(plain)


def test_class_names_are_not_formulas():
    """matplotlib reads what stands between two dollars as TeX; this name is an error there."""
    names = [r"$\nothing{$", "one $ and another $"]
    assert plots.confusion(torch.eye(2), names).startswith(b"\x89PNG")
    classes = [ClassAccuracy(name, 10, 1.0, wilson(1.0, 10)) for name in names]
    assert plots.per_class_bars(classes).startswith(b"\x89PNG")
    frames = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert plots.filmstrip(frames, {names[0]: torch.rand(1, 2, 2)}).startswith(b"\x89PNG")
