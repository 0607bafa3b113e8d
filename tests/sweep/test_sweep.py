"""Sweeps: which runs are executed, which are kept, and what the table says. tests/cli runs one end to end."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from gcvideo.cli.main import main
from gcvideo.errors import UsageError
from gcvideo.sweep.file import Run, Sweep, read_sweep
from gcvideo.sweep.outcome import read_outcomes
from gcvideo.sweep.results import write_tables
from gcvideo.sweep.run import run_sweep
from tests.sweep.written import mark_finished

SWEEP = {
    "name": "s",
    "config": str(Path(__file__).parents[2] / "configs" / "demo.yaml"),
    "baseline": "none",
    "seeds": [0, 1],
    "settings": {"trainer.max_epochs": 1},
    "variants": {"none": None, "gc": {"model.blocks": "gc", "model.block": {"at": {"res3": [0]}}}},
}


def write(tmp_path, **changes):
    content = {"runs_dir": str(tmp_path / "runs"), **SWEEP, **changes}
    (tmp_path / "s.yaml").write_text(
        yaml.safe_dump({k: v for k, v in content.items() if v is not ...}, sort_keys=False)
    )
    return str(tmp_path / "s.yaml")


def finish(sweep, variant, seed, value):
    folder = sweep.folder / f"{variant}-seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    settings = [*sweep.arguments(Run(variant, seed)), *sweep.config_settings()]
    (folder / "sweep.json").write_text(json.dumps(settings))
    (folder / "report.json").write_text(json.dumps({"video_top1": value, "clip_top1": value / 2, "seed": seed}))
    mark_finished(folder)


def test_arguments_of_a_run(tmp_path):
    sweep = read_sweep(write(tmp_path))
    assert sweep.arguments(Run("gc", 1)) == [
        f"--config={SWEEP['config']}",
        "--name=gc-seed1",
        f"--runs_dir={tmp_path}/runs/s",
        "--seed_everything=1",
        "--trust=",
        "--trainer.max_epochs=1",
        "--model.blocks=gc",
        '--model.block={"at": {"res3": [0]}}',
    ]
    several = read_sweep(write(tmp_path, config=["a.yaml", "b.yaml"]))
    assert several.arguments(Run("none", 0))[:2] == ["--config=a.yaml", "--config=b.yaml"]


@pytest.mark.parametrize(
    ("changes", "message"),
    (
        ({"variant": {}}, r"expected only the keys name, config, .*; got \['variant'\]"),
        ({"seeds": ...}, "missing seeds"),
        ({"seeds": [0, 0]}, r"expected a list of different integers as seeds, got \[0, 0\]"),
        ({"seeds": ["a"]}, "expected a list of different integers as seeds"),
        ({"threshold": "high"}, "expected a number or null as threshold, got 'high'"),
        ({"threshold": True}, "expected a number or null as threshold, got True"),
        ({"baseline": "nothing"}, "expected one of none, gc as baseline, got 'nothing'"),
        ({"variants": {"none": 3}}, "variants must map a name to settings"),
    ),
)
def test_bad_files(tmp_path, changes, message, capsys):
    with pytest.raises(UsageError, match=message):
        read_sweep(write(tmp_path, **changes))
    assert main(["sweep", str(tmp_path / "s.yaml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_sweep(str(tmp_path / "none.yaml"))
    (tmp_path / "b.yaml").write_text("a: [")
    with pytest.raises(UsageError, match=r"b\.yaml"):
        read_sweep(str(tmp_path / "b.yaml"))
    (tmp_path / "b.yaml").write_text("- a")
    with pytest.raises(UsageError, match="got list"):
        read_sweep(str(tmp_path / "b.yaml"))


def test_finished_runs_are_not_run_again(tmp_path, capsys):
    sweep = read_sweep(write(tmp_path, seeds=[0, 1, 2]))
    for variant, values in (("none", (0.5, 0.6, 0.55)), ("gc", (0.7, 0.9, 0.8))):
        for seed, value in enumerate(values):
            finish(sweep, variant, seed, value)
    assert run_sweep(sweep) == []
    assert "6 runs, 6 done already\nseeds: 3; a verdict takes 6\n" in capsys.readouterr().out
    rows = list(csv.DictReader((sweep.folder / "table.csv").open()))
    assert [(row["variant"], row["seeds"], float(row["mean"])) for row in rows] == [
        ("none", "3", pytest.approx(0.55)),
        ("gc", "3", pytest.approx(0.8)),
    ]
    assert float(rows[1]["difference"]) == pytest.approx(0.25)
    runs = list(csv.DictReader((sweep.folder / "runs.csv").open()))
    assert [(run["variant"], run["seed"], run["video_top1"]) for run in runs][:2] == [
        ("none", "0", "0.5"),
        ("none", "1", "0.6"),
    ]
    assert (sweep.folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "| gc | 3 | 0.800 |" in (sweep.folder / "table.md").read_text()


def test_a_run_of_other_settings_is_refused(tmp_path):
    finish(read_sweep(write(tmp_path)), "gc", 0, 0.9)
    changed = read_sweep(write(tmp_path, settings={"trainer.max_epochs": 2}))
    with pytest.raises(UsageError, match=r"gc-seed0 was run with other settings \(--trainer.max_epochs=1, .*=2\)"):
        run_sweep(changed)


def test_another_metric(tmp_path):
    sweep = read_sweep(write(tmp_path, metric="clip_top1"))
    finish(sweep, "none", 0, 0.8)
    write_tables(sweep, read_outcomes(sweep))
    assert "| none | 1 of 2 | 0.400 |" in (sweep.folder / "table.md").read_text()
    with pytest.raises(UsageError, match=r"expected one of video_top1, clip_top1, seed as metric, got 'accuracy'"):
        read_outcomes(read_sweep(write(tmp_path, metric="accuracy")))


@pytest.mark.slow
def test_a_failed_run_is_named_and_the_others_continue(tmp_path, capsys):
    """A configuration with an unknown key fails at once, in each run's own process."""
    (tmp_path / "bad.yaml").write_text("model: {learning_rate: 1}")
    sweep = Sweep("s", str(tmp_path / "bad.yaml"), {"none": {}, "gc": {}}, "none", [0], runs_dir=str(tmp_path))
    assert sorted(run_sweep(sweep, jobs=2)) == ["gc-seed0", "none-seed0"]
    log = (sweep.folder / "gc-seed0" / "log.txt").read_text()
    assert "learning_rate" in log
    assert "fit failed (exit status 2), see" in capsys.readouterr().out
    assert not (sweep.folder / "table.md").exists()


def test_jobs_must_be_positive(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main(["sweep", write(tmp_path), "--jobs", "0"])
    assert error.value.code == 2
    assert "--jobs: expected an integer of at least 1, got '0'" in capsys.readouterr().err


def test_a_changed_configuration_is_noticed(tmp_path):
    (tmp_path / "c.yaml").write_text("model: {lr: 0.1}")
    path = write(tmp_path, config=str(tmp_path / "c.yaml"))
    finish(read_sweep(path), "gc", 0, 0.9)
    (tmp_path / "c.yaml").write_text("model: {lr: 0.2}")
    with pytest.raises(UsageError, match=r"other settings \(.*c.yaml: model.lr=0.1, .*c.yaml: model.lr=0.2\)"):
        run_sweep(read_sweep(path))
    (tmp_path / "c.yaml").unlink()
    with pytest.raises(UsageError, match=r"config .*c.yaml: .*No such file"):
        run_sweep(read_sweep(path))


def test_names_may_be_numbers_and_settings_empty(tmp_path):
    sweep = read_sweep(
        write(tmp_path, variants={4: None, 16: {"model.block.ratio": 0.0625}}, baseline=4, settings=None)
    )
    assert (sweep.baseline, list(sweep.variants), sweep.settings) == ("4", ["4", "16"], {})
