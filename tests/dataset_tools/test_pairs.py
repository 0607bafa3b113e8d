"""Pairs of clips: who is left and right, in which split, and what the pixels are."""

import csv
from collections import Counter

import numpy as np
import pytest
import torch

from gcvideo.cli.main import main
from gcvideo.data.decode import open_video
from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.options import PairOptions
from gcvideo.dataset_tools.pairs import compose, write_pairs
from gcvideo.dataset_tools.relation import kinds_of
from gcvideo.dataset_tools.scene import DARKNESS, band_gap, band_height
from gcvideo.errors import UsageError

pytestmark = pytest.mark.slow

KINDS = (["red", "green"], ["blue"])
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "grey": (128, 128, 128)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Ten clips of one colour for each class, six for training; the class grey is of neither kind."""
    folder = tmp_path_factory.mktemp("sources")
    lines = ["path,label,split"]
    for number, (name, colour) in enumerate(pair for pair in COLOURS.items() for _ in range(10)):
        path = f"{name}{number:02d}.mp4"
        write_video(folder / path, np.full((5, 48, 64, 3), colour, dtype=np.uint8))
        lines.append(f"{path},{name},{'train' if number % 10 < 6 else 'test'}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


@pytest.fixture(scope="module")
def pairs(sources, tmp_path_factory):
    return write_pairs(sources, tmp_path_factory.mktemp("pairs"), PairOptions(KINDS, each=5, frames=4), workers=1)


def rows_of(manifest):
    with manifest.open() as stream:
        return list(csv.DictReader(stream))


def kind(name):
    return next(number for number, kind in enumerate(KINDS) if name.rstrip("0123456789.mp") in kind)


def test_the_label_is_the_relation_of_the_kinds(pairs):
    for row in rows_of(pairs):
        assert (row["label"] == "same") == (kind(row["left"]) == kind(row["right"])), row
        assert row["path"].startswith(f"{row['split']}/{row['label']}_")


def test_a_split_has_its_own_clips_and_uses_them_equally(sources, pairs):
    split_of = {row["path"]: row["split"] for row in rows_of(sources)}
    rows = rows_of(pairs)
    assert all(split_of[row["left"]] == split_of[row["right"]] == row["split"] for row in rows)
    for split, clips in (("train", 18), ("test", 12)):  # of the two kinds; grey is not used
        assert sum(row["split"] == split for row in rows) == clips * 5 // 4 * 4
        used = Counter(row[side] for row in rows if row["split"] == split for side in ("left", "right"))
        for number in (0, 1):
            counts = [count for name, count in used.items() if kind(name) == number]
            assert max(counts) - min(counts) <= 1


def test_the_four_pairs_of_kinds_are_equally_frequent(pairs):
    counts = Counter((row["split"], kind(row["left"]), kind(row["right"])) for row in rows_of(pairs))
    for split in ("train", "test"):
        assert len({counts[split, first, second] for first in (0, 1) for second in (0, 1)}) == 1
    assert len(counts) == 8


def test_kinds_alternate_and_are_equal_or_not():
    assert [kinds_of(True, number) for number in range(3)] == [(0, 0), (1, 1), (0, 0)]
    assert [kinds_of(False, number) for number in range(3)] == [(0, 1), (1, 0), (0, 1)]


def test_the_pixels_are_those_of_the_two_clips(pairs):
    width = band_height(64)
    for row in rows_of(pairs)[:12]:
        frames = open_video(str(pairs.parent / row["path"])).read(torch.arange(4)).double()
        assert frames.shape == (4, 64, 64, 3)
        for side, columns in (("left", slice(2, width - 2)), ("right", slice(66 - width, -2))):
            colour = COLOURS[row[side].rstrip("0123456789.mp")]
            assert (frames[:, :, columns].mean(dim=(0, 1, 2)) - torch.tensor(colour)).abs().max() < 6
        assert (frames[:, :, width + 2 : -width - 2] - DARKNESS).abs().mean() < 1


def test_compose():
    rng = np.random.default_rng(0)
    left, right = rng.integers(17, 255, (2, 3, 64, 64, 3), dtype=np.uint8)
    frames = compose(left, right)
    assert np.array_equal(frames[:, :, :21], left[:, :, :21])
    assert np.array_equal(frames[:, :, 43:], right[:, :, 43:])
    assert (frames[:, :, 21:43] == DARKNESS).all()
    assert band_gap(64) == 43 - 21


def test_equal_seeds_give_equal_files(sources, tmp_path):
    def contents(name, seed):
        manifest = write_pairs(sources, tmp_path / name, PairOptions(KINDS, 1, 2, seed=seed), workers=2)
        return {path.relative_to(manifest.parent): path.read_bytes() for path in manifest.parent.rglob("*.*")}

    first = contents("a", 0)
    assert contents("b", 0) == first
    assert contents("c", 1) != first


@pytest.mark.parametrize(
    ("change", "message"),
    (
        ({"kinds": (["red"], ["red", "blue"])}, "none in both"),
        ({"kinds": (["red"], [])}, "expected two kinds"),
        ({"each": 0}, "expected each >= 1, got 0"),
        ({"size": 63}, "expected an even size of at least 32, got 63"),
    ),
)
def test_bad_options(change, message):
    with pytest.raises(ValueError, match=message):
        PairOptions(**({"kinds": KINDS} | change))


def test_bad_manifests(sources, tmp_path):
    with pytest.raises(UsageError, match="no class pink; classes there: blue"):
        write_pairs(sources, tmp_path / "a", PairOptions((["pink"], ["blue"])), workers=1)
    unsplit = sources.with_name("unsplit.csv")
    unsplit.write_text("path,label\nred00.mp4,red\nblue20.mp4,blue\n")
    with pytest.raises(UsageError, match="expected a column split"):
        write_pairs(unsplit, tmp_path / "b", PairOptions((["red"], ["blue"])), workers=1)
    without = sources.with_name("without.csv")
    without.write_text("path,label,split\nred00.mp4,red,train\nblue20.mp4,blue,train\nred01.mp4,red,test\n")
    with pytest.raises(UsageError, match="split 'test' has no clip of blue"):
        write_pairs(without, tmp_path / "c", PairOptions((["red"], ["blue"]), frames=1), workers=1)


def test_command(sources, tmp_path, capsys):
    arguments = ["pairs", str(sources), str(tmp_path / "a"), "--second", "blue", "--workers", "1", "--each", "1"]
    assert main([*arguments, "--first", "red", "green", "--frames", "2", "--size", "32", "--stride", "1"]) == 0
    assert capsys.readouterr().out == f"manifest: {tmp_path / 'a' / 'manifest.csv'}\n"
    assert main([*arguments, "--first", "blue"]) == 2
    assert capsys.readouterr().err.startswith("error: expected two kinds")
