"""The page and the figures of an analysis: hostile names are shown and not obeyed."""

import pytest
import torch
from torch import nn

from gcvideo import create_model
from gcvideo.analysis.page import figures_of, render_page
from gcvideo.analysis.plots import MAX_CLASSES, unusual_classes
from gcvideo.analysis.published import PUBLISHED
from gcvideo.analysis.query_independence import LabelledClip, analyse
from gcvideo.analysis.results import Analysis, as_csv, as_text, tables
from tests.pages import HOSTILE, Page


def analysis_of(blocks, class_names, mode="embedded_gaussian"):
    torch.manual_seed(0)
    options = {"mode": mode} if blocks == "nl_all" else {}
    net = create_model("slowonly_tiny", blocks, num_classes=len(class_names), **options).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    clips = [LabelledClip(torch.randn(1, 3, 2, 32, 32), label) for label in range(len(class_names))]
    blocks = analyse(net, clips, class_names, num_queries=8)
    return Analysis(HOSTILE[0], HOSTILE[1], HOSTILE[2], "val", len(clips), 1, (2, 32, 32), 8, 0, blocks)


def test_hostile_names_are_escaped():
    analysis = analysis_of("nl_all", HOSTILE)
    figures = figures_of(analysis)
    page = Page(render_page(analysis, figures))
    assert "script" not in page.tags
    assert all(set(picture) == {"alt", "src"} for picture in page.images)
    assert len(page.images) == len(figures) == 5
    assert all(name in page.text for name in HOSTILE)
    assert "(1 could not be decoded)" in page.text


def test_every_number_of_the_table_is_on_the_page():
    analysis = analysis_of("gc_all", ["a", "b"])
    page = Page(render_page(analysis, {}))
    for rows in tables(analysis).values():
        for row in rows:
            assert all(cell in page.text for cell in row)
    assert "published" not in page.text


def test_published_rows_stand_beside_ours():
    text = as_text(analysis_of("nl_all", ["a", "b"]))
    for row in PUBLISHED:
        assert f"{row.mode}" in text
        assert f"{row.cos_attention:.3f}" in text


@pytest.mark.parametrize("mode", ("dot_product", "concatenation"))
def test_modes_without_a_distribution_have_no_divergence_and_no_maps(mode):
    analysis = analysis_of("nl_all", ["a", "b"], mode)
    assert set(figures_of(analysis)) == {"query_independence.png", "frames_or_places.png"}
    assert "jsd" not in as_csv(analysis)
    assert "Concentration" not in as_text(analysis)


def test_of_many_classes_those_are_drawn_that_differ_most():
    analysis = analysis_of("gc_all", [str(number) for number in range(9)])
    block = analysis.blocks[0]
    shown = unusual_classes(block)
    assert len(shown) == MAX_CLASSES

    def distance(name):
        one, other = block.classes[name], block.overall
        pairs = [*zip(one.in_time, other.in_time)]
        pairs += [pair for rows in zip(one.in_space, other.in_space) for pair in zip(*rows)]
        return sum(abs(x - y) for x, y in pairs)

    assert min(map(distance, shown)) >= max(distance(name) for name in block.classes if name not in shown)
