"""Every option of every verb is set by a test: the parsers are enumerated, and one that no test sets fails here."""

import inspect
import json
import re
from itertools import accumulate
from pathlib import Path

import pytest
import pytorch_lightning as pl

from gcvideo.cli.help import stored_help
from gcvideo.cli.main import TRAINING_VERBS, VERBS
from gcvideo.cli.training import GcvideoCLI
from gcvideo.cli.write_help import generated_help
from gcvideo.errors import UsageError
from gcvideo.training.best_checkpoint import BestCheckpoint
from gcvideo.training.last_checkpoint import LastCheckpoint

TESTS = Path(__file__).parents[1]

# Settings of the model and of the data: option -> a value that is not the default. Those that exclude others of these
# have tests of their own.
MODEL = {
    "class_names": ["x", "y"],
    "network": "slowonly_tiny",
    "blocks": "gc",
    "block": {"at": {"res4": [0]}, "site": "after_block", "ratio": 0.5, "pooling_type": "avg"},
    "dropout": 0.25,
    "norms": "group",
    "weights": "some.pth",
    "inflation": "center",
    "head": "dense",
    "freeze": "all_but_head",
    "multi_label": True,
    "lr": 0.03,
    "optim.name": "adamw",
    "optim.lr_batch": 16,
    "optim.momentum": 0.8,
    "optim.weight_decay": 0.02,
    "optim.decay": "all",
    "optim.layer_decay": 0.75,
    "optim.label_smoothing": 0.1,
    "optim.class_weights": "balanced",
    "optim.max_skipped": 3,
    "schedule.name": "multistep",
    "schedule.warmup_epochs": 1.5,
    "schedule.warmup_start": 0.2,
    "schedule.milestones": [3.0, 5.0],
    "schedule.gamma": 0.3,
    "mixing.mixup": 0.2,
    "mixing.cutmix": 0.3,
    "pixels.difference": True,
    "pixels.mean": [0.1, 0.2, 0.3],
    "pixels.std": 0.5,
    "execution.channels_last": False,
    "execution.compile": True,
    "execution.fuse": False,
    "execution.max_clips": 5,
}
DATA = {
    "manifest": "m.csv",
    "root": "videos",
    "class_names": ["x", "y"],
    "label_separator": "|",
    "splits.train": "a",
    "splits.val": "b",
    "splits.test": "c",
    "clip.frames": 4,
    "clip.stride": 2,
    "clip.target_fps": 15.0,
    "clip.short": "hold",
    "clip.spacing": "slowfast",
    "augment.size": 32,
    "augment.short_side": [36, 40],
    "augment.flip": False,
    "augment.geometry": "slowfast",
    "augment.appearance.rand_augment": 9,
    "augment.appearance.operations": 3,
    "augment.appearance.color_jitter": 0.4,
    "augment.appearance.erase": 0.25,
    "augment.repeats": 2,
    "views.temporal": 2,
    "views.spatial": 1,
    "views.size": 34,
    "views.short_side": 38,
    "views.geometry": "slowfast",
    "decoder": "decord",
    "batch_size": 3,
    "num_workers": 1,
    "loading.eval_batch_size": 2,
    "loading.timeout_s": 7.0,
    "loading.max_broken": 0.25,
    "loading.skip_broken": True,
    "loading.outside_root": True,
    "seed": 11,
    "predict": "folder",
}
ELSEWHERE = {"model.net", "model.optim.nesterov", "model.execution.recompute", "data.augment.min_area"}
RUN = {
    "name": "mine", "runs_dir": "elsewhere", "ema_decay": 0.5, "precise_bn": 3, "seed_everything": 4,
    "save_every_minutes": 2.5, "accept_changes": True, "rank_timeout_s": 60.0, "best_by": "val/loss",
}  # fmt: skip
# Arguments of Trainer.fit and the like, which tests/cli/test_cli.py sets or which Lightning owns.
LIGHTNING = {"ckpt_path", "verbose", "return_predictions", "print_config", "model", "data", "trainer"}


class Prepared(GcvideoCLI):
    """Everything up to the start of the training."""

    def _run_subcommand(self, subcommand):
        pass


def arguments(group, settings):
    prefix = f"{group}." if group else ""
    for name, value in settings.items():
        yield f"--{prefix}{name}={value if isinstance(value, str) else json.dumps(value)}"


def stored(hparams, name):
    value = hparams
    for part in name.split("."):
        value = value[part]
    return list(value) if isinstance(value, tuple) else value


def test_every_setting_of_model_and_data_arrives(tmp_path, monkeypatch):
    """Set on the command line, found in the validated settings that the classes store."""
    monkeypatch.chdir(tmp_path)
    flags = [*arguments("model", MODEL), *arguments("data", DATA), *arguments("", RUN), "--trainer.accelerator=cpu"]
    cli = Prepared("fit", flags)
    options = {name for name in cli._parser("fit").option_names() if not name.startswith("trainer")}
    expected = {f"model.{name}" for name in MODEL} | {f"data.{name}" for name in DATA} | set(RUN) | ELSEWHERE
    sections = {
        f"{group}.{section}"
        for group, names in (("model", MODEL), ("data", DATA))
        for name in names
        for section in accumulate(name.split(".")[:-1], "{}.{}".format)
    }
    assert options - LIGHTNING - sections == expected
    for name, value in MODEL.items():
        assert stored(cli.model.hparams, name) == value, name
    for name, value in DATA.items():
        assert stored(cli.datamodule.hparams, name) == value, name
    assert cli.run_dir == Path("elsewhere/mine")
    assert cli.datamodule.accept_changes
    (last,) = (callback for callback in cli.trainer.callbacks if isinstance(callback, LastCheckpoint))
    assert last.every_minutes == 2.5
    (best,) = (callback for callback in cli.trainer.callbacks if isinstance(callback, BestCheckpoint))
    assert (best.monitor, best.mode) == ("val/loss", "min")
    names = [type(callback).__name__ for callback in cli.trainer.callbacks]
    assert names.index("EMAWeightAveraging") < names.index("PreciseBatchNorm") < names.index("BestCheckpoint")


def test_nesterov_momentum_is_an_option_of_sgd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = ["--model.class_names=[a,b]", "--trainer.accelerator=cpu", "--model.optim.nesterov=false"]
    assert not Prepared("fit", base).model.optim.nesterov
    with pytest.raises(UsageError, match="nesterov false would have no effect with optim.name adamw"):
        Prepared("fit", [*base, "--model.optim.name=adamw"])


def test_boxes_of_random_area_arrive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--model.class_names=[a,b]", "--data.augment.min_area=0.5", "--trainer.accelerator=cpu"]
    assert stored(Prepared("fit", flags).datamodule.hparams, "augment.min_area") == 0.5


def test_no_value_is_a_default(tmp_path, monkeypatch):
    """Else the test above would prove nothing."""
    monkeypatch.chdir(tmp_path)
    cli = Prepared("fit", ["--model.class_names=[a,b]", "--trainer.accelerator=cpu"])
    for name, value in MODEL.items():
        if name != "class_names":
            assert stored(cli.model.hparams, name) != value, name
    for name, value in DATA.items():
        if name != "class_names":
            assert stored(cli.datamodule.hparams, name) != value, name


@pytest.mark.parametrize("verb", TRAINING_VERBS)
def test_all_training_verbs_have_the_same_settings(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class ParsedError(Exception):
        pass

    class Parse(GcvideoCLI):
        def before_instantiate_classes(self):
            raise ParsedError({name for name in self._parser(verb).option_names() if re.match(r"model|data", name)})

    with pytest.raises(ParsedError) as options:
        Parse(verb, [])
    assert {f"model.{name}" for name in MODEL} | {f"data.{name}" for name in DATA} <= options.value.args[0]


@pytest.mark.parametrize("verb", TRAINING_VERBS)
def test_the_stored_help_is_that_of_the_parser(verb):
    assert stored_help(verb) == generated_help(verb), "an option has changed: run python -m gcvideo.cli.write_help"


def test_the_trainer_arguments_that_the_help_names_exist():
    named = re.search(r"Often\s+used: (.*?)\.", stored_help("fit"), re.DOTALL)[1]
    assert {name.strip() for name in named.split(",")} <= set(inspect.signature(pl.Trainer).parameters)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_the_other_verbs_is_in_a_test(verb):
    """As a word of a command: `"--crf"`."""
    sources = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    for action in VERBS[verb].parser()._actions:
        for option in action.option_strings:
            if option not in ("-h", "--help"):
                assert f'"{option}"' in sources or f'"{option}=' in sources, f"gcvideo {verb} {option}"
