"""A wrong word brings the right one: by meaning, and by spelling."""

import re

import pytest

from gcvideo.cli.help import stored_help
from gcvideo.cli.main import TRAINING_VERBS, VERBS
from gcvideo.cli.suggestions import OPTIONS, meant_option, meant_verb

ALL_VERBS = (*TRAINING_VERBS, "doctor", *VERBS)
# The stored help names the most used arguments of the Trainer only.
ALL_OPTIONS = [*re.findall(r"^  --([\w.]+)", stored_help("fit"), re.MULTILINE), "trainer.max_epochs", "trainer.devices"]


@pytest.mark.parametrize(
    ("word", "verbs"),
    (
        ("train", ["fit"]), ("trian", ["fit"]), ("fti", ["fit"]), ("Evaluate", ["test"]), ("tset", ["test"]),
        ("infer", ["predict"]), ("perdict", ["predict"]), ("compare", ["report"]), ("xyzzy", []),
    ),
)  # fmt: skip
def test_verbs(word, verbs):
    assert meant_verb(word, ALL_VERBS)[: len(verbs) or 1] == verbs


@pytest.mark.parametrize(
    ("name", "option"),
    (
        ("learning_rate", "model.lr"), ("lr", "model.lr"), ("model.learning_rate", "model.lr"),
        ("batch-size", "data.batch_size"), ("batch_size", "data.batch_size"), ("epochs", "trainer.max_epochs"),
        ("gpus", "trainer.devices"), ("output_dir", "runs_dir"), ("model.blcks", "model.blocks"),
        ("data.stride", "data.clip.stride"), ("optimizer.momentum", "model.optim.momentum"),
        ("num_worker", "data.num_workers"),
    ),
)  # fmt: skip
def test_options(name, option):
    assert meant_option(name, ALL_OPTIONS)[0] == option


def test_nothing_is_meant_by_noise():
    assert meant_option("zzzzqqqq", ALL_OPTIONS) == []


def test_every_option_of_the_table_exists():
    ours = {option for option in OPTIONS.values() if not option.startswith("trainer.")}
    assert ours <= set(ALL_OPTIONS)
