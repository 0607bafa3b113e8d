"""The complexity table: exact parameters, published increments, options."""

import json

import pytest

from gcvideo.analysis.table import PUBLISHED, ROWS, Comparison, as_dict, as_json, as_text, complexity_table
from gcvideo.cli.main import main

EXACT = {"none": 32_454_096, "nl5": 39_812_560, "snl5": 36_132_309, "gc5": 34_300_373, "gc_all": 42_455_005}


@pytest.fixture(scope="module")
def table():
    return complexity_table()


def test_parameters_are_exact_and_round_to_the_published(table):
    assert {row.blocks: row.parameters for row in table.rows} == EXACT
    for row in table.rows:
        # 39.8126 and 36.1323 M are published as 39.81 and 36.13; 42.455 as 42.45
        assert row.parameters / 1e6 == pytest.approx(row.published.parameters_m, abs=0.0051)


def test_increments_and_the_published_ones(table):
    rows = {row.blocks: row for row in table.rows}
    assert rows["none"].macs / 1e9 == pytest.approx(41.741, abs=5e-4)
    for blocks in ("snl5", "gc5", "gc_all"):
        assert round(rows[blocks].macs_increment / 1e9, 2) == rows[blocks].published.macs_increment_g
    assert rows["nl5"].macs_increment / 1e9 == pytest.approx(22.24, abs=0.01)  # published: +20.31
    assert rows["nl5"].published.macs_increment_g == 20.31
    assert rows["none"].published.macs_g == 39.29


def test_at_256_pixels_the_count_is_that_of_pytorchvideo_and_pyslowfast():
    rows = complexity_table(blocks=("none", "nl5", "snl5", "gc5", "gc_all"), size=256).rows
    assert [round(row.macs / 1e9, 2) for row in rows[:1]] == [54.52]
    assert rows[0].published == Comparison(32.45)  # the published counts are of 224 pixels
    assert [round(row.macs_increment / 1e9, 2) for row in rows[1:]] == [33.82, 0.03, 0.03, 0.07]


def test_other_models_have_no_published_row():
    table = complexity_table("i3d_r50", ("gc5",), frames=16, num_classes=10)
    assert [row.blocks for row in table.rows] == ["gc5"]
    assert table.rows[0].published is None
    assert table.input == (1, 3, 16, 224, 224)
    assert "39.29" not in as_text(table)


def test_texts(table):
    assert json.loads(as_json(table)) == as_dict(table)
    assert as_dict(table)["rows"][0]["published"] == {"parameters_m": 32.45, "macs_g": 39.29, "macs_increment_g": 0.0}
    assert "39.29 G is not what plain counting gives" in table.note
    plain, marked = as_text(table), as_text(table, markdown=True)
    for text in (plain, marked):
        assert "42,455,005" in text
        assert "+20.31" in text
        assert "39.29 G is not what plain counting gives" in text
        assert "8 x 224 x 224" in text
    assert len(marked.splitlines()[0].split("|")) == len(marked.splitlines()[1].split("|"))


def test_command(capsys):
    assert main(["table", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["blocks"]: row["parameters"] for row in rows} == EXACT
    assert set(PUBLISHED) == set(ROWS) == set(EXACT)
    assert (
        main(
            [
                "table",
                "--network",
                "slowonly_tiny",
                "--blocks",
                "gc_all",
                "--size",
                "32",
                "--classes",
                "7",
                "--markdown",
            ]
        )
        == 0
    )
    assert "| gc_all |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    (
        (["--network", "resnet18"], "network must be one of"),
        (["--blocks", "gc7"], "blocks must be one of"),
        (["--size", "0"], "--size: expected an integer of at least 1, got '0'"),
        (["--network", "i3d_r50", "--frames", "1"], "error: "),
    ),
)
def test_bad_requests(args, message, capsys):
    try:
        status = main(["table", *args])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert message in capsys.readouterr().err
