"""What a fit and a test print off a terminal: a line for each epoch, what is next, and nothing of other projects."""

import json
import logging
import re
import sys
import warnings

import pytest
import yaml

from gcvideo.cli.quiet import PACKAGE, silence_foreign_messages
from gcvideo.cli.trainer_parts import shows_bar
from gcvideo.fit_marker import read_fit_facts
from tests.cli.test_cli import gcvideo
from tests.faults.runs import TINY

EPOCHS = 2
FOREIGN = re.compile(
    r"litlogger|💡|Tip|available: |TPU|HPU|Seed set|LeafSpec|FutureWarning|num_workers|log_every_n_steps|sanity|"
    r"Trainer\.fit|Params|\[A|it/s|\r|%\|",
    re.IGNORECASE,
)


def options(folder):
    """Without what suppresses bars and tables."""
    kept = list(TINY)
    for name in ("--trainer.enable_progress_bar", "--trainer.enable_model_summary", "--trainer.log_every_n_steps"):
        at = kept.index(name)
        del kept[at : at + 2]
    return ["--runs_dir", folder / "all runs", "--name", "run", *kept]


@pytest.fixture(scope="module")
def fitted(synthetic, tmp_path_factory):
    """Folder of the runs, and what their fit printed."""
    folder = tmp_path_factory.mktemp("quiet")
    manifest = ("--data.manifest", synthetic)
    done = gcvideo("fit", *options(folder), *manifest, "--trainer.max_epochs", EPOCHS, "--model.lr", "0.01", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


@pytest.mark.slow
def test_a_fit_prints_a_line_for_each_epoch_and_what_is_next(fitted):
    folder, out, error = fitted
    lines = out.splitlines()
    assert lines[0].startswith("slowonly_tiny + gc_all: ")
    assert lines[0].endswith(" parameters to train; videos: 12 for training, 6 for validation; on CPU")
    for epoch in range(1, EPOCHS + 1):
        number = r"[\d.e-]+"
        pattern = f"epoch {epoch}/{EPOCHS}: loss {number}, val loss {number}, val top-1 {number}, lr {number}, {number}"
        assert re.match(pattern + r" clips/s(, [\d.]+ (s|min) left)?$", lines[epoch]), lines[epoch]
    best = r"best val/video_top1 0.\d+ after epoch [12]"
    assert re.match(rf"trained {EPOCHS} epochs in [\d.]+ (s|min); {best}$", lines[-3])
    assert lines[-2] == f"{folder}/all runs/run: checkpoints/best.ckpt, config.yaml, metrics/"
    assert lines[-1] == f"next: gcvideo test --name run --runs_dir '{folder}/all runs'"
    assert len(out.splitlines() + error.splitlines()) <= EPOCHS + 12
    assert not FOREIGN.search(out + error), out + error


@pytest.mark.slow
def test_what_the_fit_took_is_recorded(fitted):
    facts = read_fit_facts(fitted[0] / "all runs" / "run")
    assert (facts.epochs, facts.steps, facts.device) == (EPOCHS, EPOCHS * 4, "CPU")
    assert (facts.metric, facts.best_epoch in range(1, EPOCHS + 1)) == ("val/video_top1", True)
    assert 0 < facts.seconds < 300
    assert 0 <= facts.best <= 1


@pytest.mark.slow
@pytest.mark.slow
def test_a_test_is_quiet_and_its_report_knows_the_training(fitted):
    folder, *_ = fitted
    run = folder / "all runs" / "run"
    done = gcvideo("test", *options(folder)[:4], "--trainer.accelerator", "cpu", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert not FOREIGN.search(done.stdout + done.stderr), done.stdout + done.stderr
    assert len(done.stderr.splitlines()) <= 4
    report = json.loads((run / "report.json").read_text())
    assert report["config"] == yaml.safe_load((run / "config.yaml").read_text())
    assert report["config"]["model"]["lr"] == 0.01
    assert report["training"]["epochs"] == EPOCHS
    assert report["test_config"]["ckpt_path"].endswith("best.ckpt")
    done = gcvideo(
        "test", *options(folder)[:4], "--trainer.accelerator", "cpu", "--data.splits.test", "val", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "report-val.json").read_text())["data"]["split"] == "val"
    assert json.loads((run / "report.json").read_text()) == report


def test_our_warnings_have_no_file_and_line(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    silence_foreign_messages()
    ours, other = str(PACKAGE / "report" / "write.py"), "/site-packages/other.py"
    assert warnings.formatwarning("bad news", UserWarning, ours, 67) == "warning: bad news\n"
    assert "other.py" in warnings.formatwarning("bad news", UserWarning, other, 67)


def test_what_concerns_the_user_stays(caplog, monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.INFO):
        warnings.simplefilter("always")
        silence_foreign_messages()
        logger.propagate, before = True, logging.getLogger("pytorch_lightning").propagate
        logging.getLogger("pytorch_lightning").propagate = True
        try:
            for text in ("weights: all 53 tensors loaded", "GPU available: True (cuda), used: False", "💡 Tip: buy"):
                logger.info(text)
        finally:
            logging.getLogger("pytorch_lightning").propagate = before
        for text in (
            "GPU available but not used. You can set it by doing `Trainer(accelerator='gpu')`.",
            "The 'train_dataloader' does not have many workers which may be a bottleneck. Consider increasing",
            "3 of 12 videos (fit) can't be decoded: a.mp4",
        ):
            warnings.warn(text, stacklevel=1)
    assert caplog.messages == ["weights: all 53 tensors loaded"]
    assert [str(warning.message)[:5] for warning in seen] == ["GPU a", "3 of "]


@pytest.mark.parametrize(
    ("requested", "is_terminal", "shows"),
    ((None, True, True), (None, False, False), (True, False, True), (False, True, False)),
)
def test_a_bar_is_for_terminals(monkeypatch, requested, is_terminal, shows):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    assert shows_bar({"enable_progress_bar": requested}) is shows
