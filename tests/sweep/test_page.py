"""What a sweep writes: tables and page of real files, with hostile names, gaps and many classes."""

import csv

import pytest

from gcvideo.pages import image, render
from gcvideo.report.interval import wilson
from gcvideo.sweep.file import Sweep
from gcvideo.sweep.outcome import ClassTop1, read_outcomes
from gcvideo.sweep.plot import plot_classes, plot_curves
from gcvideo.sweep.results import write_tables
from tests.pages import HOSTILE, Page
from tests.sweep.written import mark_finished, write_run

CURVE = (0.3, 0.5, 0.7)


def videos(num_right, total=20, classes=("same", "opposite")):
    """(class, video) -> whether it is right: the first ones are."""
    return {(classes[n % len(classes)], f"{n}.mp4"): n < num_right for n in range(total)}


def sweep_of(tmp_path, variants=("none", "gc"), seeds=(0,), **settings):
    named = {name: {"model.blocks": "gc_all"} for name in variants}
    return Sweep("s", "configs/demo.yaml", named, variants[0], list(seeds), runs_dir=str(tmp_path), **settings)


def read_page(sweep):
    return Page((sweep.folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def demo(tmp_path):
    """Two variants, one seed: 12 and 18 of 20 videos are right; one video of each is not the other's."""
    sweep = sweep_of(tmp_path)
    write_run(sweep, "none", 0, {**videos(12), ("same", "a.mp4"): True}, CURVE)
    write_run(sweep, "gc", 0, {**videos(18), ("same", "b.mp4"): False}, CURVE)
    write_tables(sweep, read_outcomes(sweep))
    return sweep


def test_the_tables_of_two_runs(demo):
    base, row = csv.DictReader((demo.folder / "runs.csv").open())
    low, high = wilson(13 / 21, 21)
    assert base == {
        **{"variant": "none", "seed": "0", "video_top1": str(13 / 21), "low": str(low), "high": str(high)},
        **dict.fromkeys(("variant_only", "baseline_only", "not_shared", "mcnemar_p"), ""),
    }
    assert [row[key] for key in ("variant_only", "baseline_only", "not_shared")] == ["6", "0", "2"]
    assert float(row["mcnemar_p"]) == 2 / 2**6
    text = (demo.folder / "table.md").read_text()
    assert "| gc | 1 | 0.857 |  | +0.238 |  | 1.000 | too few seeds to tell |\n" in text
    assert "| 0 | 0.619 (0.409 to 0.792) | 0.857 (0.654 to 0.950), 6 : 0, p = 0.031, without 2 videos that " in text
    assert "number of comparisons (Holm), here 1" in text
    assert "at least 6 seeds" in text


def test_the_page_of_two_runs(demo):
    page = read_page(demo)
    assert "s: video_top1 of 2 variants 0.619 0.409 to 0.792 none 0.857 0.654 to 0.950 gc Variants" in page.text
    assert [picture["alt"] for picture in page.images] == [
        "seeds of each variant and differences to the baseline",
        "validation curves",
        "accuracy of each class",
    ]
    assert page.links == ["./none-seed0/report.html", "./gc-seed0/report.html"]
    assert all((demo.folder / link).parent.is_dir() for link in page.links)
    assert "runs 2 of 2 finished test videos of a run 21" in page.text


def test_threshold_and_many_seeds(tmp_path):
    sweep = sweep_of(tmp_path, variants=("none", "a", "b", "c", "d", "gc"), seeds=range(8), threshold=0.9)
    for seed in sweep.seeds:
        for variant in sweep.variants:
            learned = variant == "gc" and seed != 3
            write_run(sweep, variant, seed, videos(19 if learned else 10 + seed % 2), CURVE)
    write_tables(sweep, read_outcomes(sweep))
    rows = {row["variant"]: row for row in csv.DictReader((sweep.folder / "table.csv").open())}
    assert [rows["gc"][key] for key in ("passed", "verdict")] == ["7", "not significant"]  # 5 x 4 / 2**8
    assert rows["none"]["passed"] == "0"
    text = (sweep.folder / "table.md").read_text()
    assert "| 7 of 8 (0.473 to 0.997) |" in text
    assert "0.9 or more: seeds with this video_top1" in text
    page = read_page(sweep)
    assert "8 seeds: 0.550 to 0.950 gc Variants" in page.text
    assert len(page.links) == 48


def test_a_sweep_without_all_runs_and_files(tmp_path):
    """The baseline has failed; one run has neither predictions nor curves nor classes."""
    sweep = sweep_of(tmp_path, seeds=(0, 1))
    write_run(sweep, "gc", 1, videos(18))
    folder = sweep.folder / "gc-seed1"
    (folder / "predictions.csv").unlink()
    (folder / "metrics" / "version_0" / "metrics.csv").unlink()
    (folder / "report.json").write_text('{"video_top1": 0.9}')
    mark_finished(folder)
    write_tables(sweep, read_outcomes(sweep))
    page = read_page(sweep)
    assert "No curves were logged." in page.text
    assert [picture["alt"] for picture in page.images] == ["seeds of each variant and differences to the baseline"]
    assert page.links == ["./gc-seed1/report.html"]
    assert "| 1 |  | 0.900 |" in (sweep.folder / "table.md").read_text()


def test_hostile_names_are_escaped(tmp_path):
    """Names of variants and classes, and a variant whose link could run a script."""
    script = "javascript:alert(1)#?"
    sweep = sweep_of(tmp_path, variants=(script, HOSTILE[1], HOSTILE[2]))
    for variant in sweep.variants:
        write_run(sweep, variant, 0, videos(15, classes=HOSTILE), CURVE)
    write_tables(sweep, read_outcomes(sweep))
    page = read_page(sweep)
    assert "script" not in page.tags
    assert all(set(picture) == {"alt", "src"} for picture in page.images)
    assert page.links[0] == "./javascript%3Aalert%281%29%23%3F-seed0/report.html"
    assert HOSTILE[1] in page.text
    assert HOSTILE[2] in page.text


def test_a_picture_escapes_its_text(tmp_path):
    page = Page(f"<p>{image(b'', HOSTILE[2]).__html__()}</p>")
    assert page.images == [{"alt": HOSTILE[2], "src": "data:image/png;base64,"}]


def test_a_misspelt_name_in_a_template_is_an_error():
    with pytest.raises(Exception, match="'title' is undefined"):
        render("sweep/page.html.j2")


@pytest.mark.parametrize("num_classes", (1, 400))
@pytest.mark.parametrize("num_variants", (1, 12))
def test_figures_of_few_and_many(num_classes, num_variants):
    rows = {f"class {number}": ClassTop1(number / num_classes, 50) for number in range(num_classes)}
    variants = {f"variant {number} $": rows for number in range(num_variants)}
    assert plot_classes(variants, "variant 0 $").startswith(b"\x89PNG")


def test_curves_of_runs_of_different_lengths():
    long, short = ([(epoch, 0.5) for epoch in range(1, end)] for end in (9, 4))
    curves = {"none": [{"val/loss": long}, {"val/loss": short}], "gc": [{"train/loss": long}]}
    assert plot_curves(curves, "none").startswith(b"\x89PNG")
