"""`gcvideo analyze` and `attend`: files, table and messages, on small networks with random weights."""

import csv
import json
import shutil

import av
import pytest
import yaml
from PIL import Image

from gcvideo.cli.main import main
from tests.pages import Page
from tests.trained import write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory, synthetic):
    """Runs gc, nl and plain, trained for the synthetic videos; that of gc knows its manifest."""
    folder = tmp_path_factory.mktemp("runs")
    names = sorted({row["label"] for row in csv.DictReader(synthetic.open())})
    for name, blocks in (("gc", "gc_all"), ("nl", "nl_all"), ("plain", "none")):
        write_run(folder / name, names, blocks)
    (folder / "gc" / "config.yaml").write_text(yaml.safe_dump({"data": {"manifest": str(synthetic)}}))
    return folder


@pytest.fixture(scope="module")
def video(synthetic):
    return str(next(synthetic.parent.rglob("*.mp4")))


def test_analyze_of_non_local_blocks(runs, synthetic, tmp_path, capsys):
    command = ["analyze", "--ckpt_path", str(runs / "nl" / "checkpoints" / "best.ckpt"), "--manifest", str(synthetic)]
    command += ["--root", str(synthetic.parent), "--split", "all", "--limit", "3", "--queries", "16", "--seed", "5"]
    assert main([*command, "--device", "cpu", "--out", str(tmp_path / "a")]) == 0
    output = capsys.readouterr().out
    assert "res4.0     embedded_gaussian" in output
    assert "published  embedded_gaussian      0.358       0.003          0.004          0.015" in output
    assert "frame / place" in output
    assert "3 videos of" in output
    assert "16 queries of a clip, drawn with seed 5" in output
    content = json.loads((tmp_path / "a" / "analysis.json").read_text())
    assert [block["name"] for block in content["blocks"]] == ["res3.0", "res4.0", "res5.0"]
    mean = content["blocks"][0]["overall"]["mean"]
    assert 0 < mean["cos_input"] < 1
    assert {"cos_attention_other_frame", "jsd_attention_other_place", "entropy"} <= mean.keys()
    rows = list(csv.DictReader((tmp_path / "a" / "analysis.csv").open()))
    assert float(next(r for r in rows if r["statistic"] == "cos_input")["mean"]) == pytest.approx(
        mean["cos_input"], 1e-4
    )
    page = Page((tmp_path / "a" / "analysis.html").read_text())
    assert len(page.images) == 2 + 3
    assert "What is attended to" in page.text
    for name in ("query_independence.png", "frames_or_places.png", "attended-res3.0.png"):
        assert Image.open(tmp_path / "a" / name).width > 300


def test_analyze_of_a_run_uses_its_manifest_and_writes_into_its_folder(runs, capsys):
    assert main(["analyze", "--name", "gc", "--runs_dir", str(runs), "--limit", "2"]) == 0
    output = capsys.readouterr().out
    assert "published" not in output  # there is nothing to compare
    assert "Concentration of the attention" in output
    content = json.loads((runs / "gc" / "analysis" / "analysis.json").read_text())
    for block in content["blocks"]:
        assert block["overall"]["mean"]["cos_output"] == pytest.approx(0, abs=1e-9)  # one context for all positions
        assert sum(block["overall"]["in_time"]) == pytest.approx(1)
    assert content["published"] == []


def test_equal_seeds_give_equal_figures(runs, synthetic, tmp_path, capsys):
    for name in ("a", "b"):
        command = ["analyze", "--name", "nl", "--runs_dir", str(runs), "--manifest", str(synthetic), "--limit", "2"]
        assert main([*command, "--queries", "8", "--out", str(tmp_path / name)]) == 0
    a, b = ((tmp_path / name / "analysis.csv").read_text() for name in ("a", "b"))
    assert a == b


def test_broken_videos_are_skipped_and_counted(runs, synthetic, tmp_path, capsys):
    shutil.copy(next(synthetic.parent.rglob("*.mp4")), tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    label = next(csv.DictReader(synthetic.open()))["label"]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"path,label,split\nbad.mp4,{label},val\ngood.mp4,{label},val\n")
    command = ["analyze", "--name", "gc", "--runs_dir", str(runs), "--manifest", str(manifest)]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    captured = capsys.readouterr()
    assert "1 videos of" in captured.out
    assert "(1 could not be decoded)" in captured.out
    assert "skipped: " in captured.err
    manifest.write_text(f"path,label,split\nbad.mp4,{label},val\n")
    assert main(command) == 1
    assert "error: none of 1 videos can be decoded" in capsys.readouterr().err


def test_analyze_tells_what_it_misses(runs, synthetic, capsys):
    assert main(["analyze", "--name", "nl", "--runs_dir", str(runs)]) == 2
    assert "expected --manifest" in capsys.readouterr().err
    assert main(["analyze", "--name", "plain", "--runs_dir", str(runs), "--manifest", str(synthetic)]) == 2
    assert "no blocks that attend" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["analyze"])
    assert "one of the arguments --name --ckpt_path is required" in capsys.readouterr().err


def test_attend_writes_a_filmstrip_and_a_video(runs, video, tmp_path, capsys):
    assert main(["attend", video, "--name", "gc", "--runs_dir", str(runs)]) == 0
    strip, film = capsys.readouterr().out.split()
    assert strip == str(runs / "gc" / "attention" / strip.rpartition("/")[2])
    assert Image.open(strip).width > 300
    with av.open(film) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3 * 4  # a clip of 4 frames, three times


def test_attend_as_a_gif(runs, video, tmp_path, capsys):
    command = ["attend", video, "--ckpt_path", str(runs / "nl" / "checkpoints" / "best.ckpt"), "--out", str(tmp_path)]
    assert main([*command, "--format", "gif", "--block", "res4.0", "--queries", "2", "--device", "cpu"]) == 0
    film = capsys.readouterr().out.split()[1]
    picture = Image.open(film)
    assert picture.n_frames == 4
    assert picture.info["duration"] == pytest.approx(2 / 15 * 1000, abs=5)  # stride 2 at 15 frames a second


def test_attend_shows_grad_cam_of_a_network_without_blocks(runs, video, synthetic, tmp_path, capsys):
    label = next(csv.DictReader(synthetic.open()))["label"]
    command = ["attend", video, "--name", "plain", "--runs_dir", str(runs), "--out", str(tmp_path), "--format", "png"]
    assert main([*command, "--class", label, "--layer", "blocks.3"]) == 0
    assert len(capsys.readouterr().out.split("\n")) == 2
    assert main([*command, "--class", "none of them"]) == 2
    assert "--class: expected one of" in capsys.readouterr().err
    assert main([*command, "--layer", "blocks.77"]) == 2
    assert "no module 'blocks.77'" in capsys.readouterr().err
    assert main([*command, "--block", "res3.0"]) == 2
    assert "no block 'res3.0'; expected one of none" in capsys.readouterr().err


def test_attend_of_a_broken_video(runs, tmp_path, capsys):
    assert main(["attend", str(tmp_path / "missing.mp4"), "--name", "gc", "--runs_dir", str(runs)]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith("missing.mp4: no such file")
