"""What users type and write: wrong values, configurations and manifests. Each is one error of at most five lines.

All command lines run in this process, so that an exception that nobody has turned into a message fails the test.
"""

import csv
import json
import random
import re
from pathlib import Path

import pytest
import torch
import yaml

from gcvideo.cli.main import main
from gcvideo.cli.user_errors import is_out_of_memory, out_of_memory
from gcvideo.data.listing import ManifestError
from gcvideo.data.manifest import read_class_names, read_manifest
from gcvideo.errors import GcvideoError

pytestmark = pytest.mark.slow

BASE = """
model: {network: slowonly_tiny, blocks: gc_all, dropout: 0.0, execution: {channels_last: false}, optim: {lr_batch: 4}}
data:
  manifest: manifest.csv
  clip: {frames: 2, stride: 1}
  augment: {size: 32, short_side: [32, 34]}
  views: {temporal: 1, spatial: 1}
  batch_size: 2
  num_workers: 0
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false, logger: false}
"""

# Arguments of `fit` after those of BASE -> what the message says, besides the option.
VALUES = {
    "--data.clip.frames=100000": "in 1 to 4096",
    "--data.clip.frames=0": "in 1 to 4096",
    "--data.clip.frames=two": "Expected int. Got value: two",
    "--data.clip.frames=1.5": "Expected int. Got value: 1.5",
    "--data.clip.stride=-1": "in 1 to 4096",
    "--data.clip.target_fps=.nan": "finite",
    "--data.clip.target_fps=.inf": "finite",
    "--data.clip.target_fps=x": "Expected float or null. Got value: x",
    "--data.clip.short=x": "Expected one of 'loop', 'hold'. Got value: x",
    "--data.clip.spacing=slowfast": "expected clip.target_fps",
    "--data.augment.size=0": "1 <= augment.size",
    "--data.augment.size=33": "augment.size <= augment.short_side",
    "--data.augment.short_side=[40,32]": "augment.short_side[0] <= augment.short_side[1]",
    "--data.augment.short_side=[32]": "Expected tuple with 2 elements",
    "--data.augment.short_side=[32,1000000]": "<= 4096",
    "--data.augment.min_area=.nan": "(0, 1]",
    "--data.augment.flip=maybe": "Expected bool",
    "--data.views.temporal=0": ">= 1",
    "--data.views.temporal=1000000": "expected at most 4",
    "--data.views.spatial=2": "Expected one of 1, 3",
    "--data.views.size=100000": "in 1 to 4096",
    "--data.batch_size=0": ">= 1",
    "--data.batch_size=null": "Expected int",
    "--data.batch_size=7": "6 training videos on 1 device(s) do not fill one batch of 7: lower data.batch_size",
    "--data.num_workers=-1": "in 0 to 512",
    "--data.num_workers=100000": "in 0 to 512",
    "--data.loading.eval_batch_size=0": ">= 1",
    "--data.loading.eval_batch_size=10.5": "Expected int",
    "--data.loading.timeout_s=.nan": "finite",
    "--data.loading.timeout_s=.inf": "finite",
    "--data.loading.max_broken=.nan": "[0, 1)",
    "--data.decoder=x": "'pyav', 'decord', 'torchcodec'",
    "--data.seed=-1": "in 0 to 2**63 - 1",
    "--data.seed=99999999999999999999999": "in 0 to 2**63 - 1",
    "--data.splits.train=gone": "no rows of split 'gone'; splits there: test, train, val",
    "--data.splits.val=gone": "no rows of split 'gone'; splits there: test, train, val",
    "--data.manifest.train=gone.csv": "gone.csv: no such manifest file",
    "--data.manifest={val: manifest.csv}": "data.manifest has no list of split 'train'; lists there: val",
    "--data.splits.val=": "data.splits.val is empty",
    "--data.class_names=[]": "at least two classes",
    "--data.class_names=[a,a]": "must differ",
    "--data.class_names=x": "Expected list or null",
    "--data.class_names=[x,z]": "label 'y' is not in the class list of 2",
    "--data.manifest=": "data.manifest is empty",
    "--data.manifest=gone.csv": "no such manifest file",
    "--data.manifest=/dev/null": "no such manifest file",
    "--data.root=/gone": "missing file: /gone/train0.mp4",
    "--model.lr=.nan": "finite",
    "--model.lr=.inf": "finite",
    "--model.lr=-1": "at least 0",
    "--model.lr=1e400": "finite",
    "--model.lr=fast": "Expected float. Got value: fast",
    "--model.dropout=.nan": "[0, 1)",
    "--model.dropout=1": "[0, 1)",
    "--model.dropout=-0.1": "[0, 1)",
    "--model.network=x": "'slowonly_r50'",
    "--model.blocks=x": "'gc5'",
    "--model.block=x": "Expected dict or null",
    "--model.block.name=x": "got name",
    "--model.block.blocks=x": "got blocks",
    "--model.block.weights=x": "got weights",
    "--model.block.dropout=0.1": "got dropout",
    "--model.block.ratio=x": "Expected float",
    "--model.block.ratio=0": "ratio",
    "--model.block.pooling_type=x": "'att', 'avg'",
    "--model.block.in_channels=3": "in_channels",
    "--model.block.nope=3": "nope",
    "--model.block.at={res9: all}": "res9",
    "--model.block.at={res4: [99]}": "which has only",
    "--model.block.site=x": "site",
    "--model.net=nope.Nope": "'nope.Nope': No module named 'nope'",
    "--model.net=x": "name of a class, with its package",
    "--model.net=os.getcwd": "os.getcwd",
    "--model.net=torch.relu": "no signature found",
    "--model.net=torch.nn": "does not correspond to a subclass of Module: torch.nn",
    "--model.net=torch.nn.Linear": "in_features",
    "--model.weights=gone.pth": "must be a file or a name of",
    "--model.weights=": "model.weights is empty",
    "--model.inflation=mean": "would have no effect without model.weights",
    "--model.head=x": "Expected one of 'pool', 'dense' or null",
    "--model.optim=3": "Unable to load config '3'",
    "--model.optim.name=x": "'sgd', 'adamw'",
    "--model.optim.lr_batch=0": "at least 1 or null",
    "--model.optim.lr_batch=1.5": "Expected int or null. Got value: 1.5",
    "--model.optim.momentum=.nan": "[0, 1)",
    "--model.optim.momentum=1": "[0, 1)",
    "--model.optim.weight_decay=-1": "at least 0",
    "--model.optim.weight_decay=.nan": "finite",
    "--model.optim.weight_decay=.inf": "finite",
    "--model.optim.label_smoothing=1": "[0, 1)",
    "--model.optim.label_smoothing=.nan": "[0, 1)",
    "--model.schedule.name=x": "'cosine', 'multistep'",
    "--model.schedule.warmup_epochs=-1": "at least 0",
    "--model.schedule.warmup_epochs=.nan": "finite",
    "--model.schedule.warmup_epochs=.inf": "finite",
    "--model.schedule.warmup_start=-1": "at least 0",
    "--model.schedule.gamma=.nan": "finite",
    "--model.schedule.milestones=[1]": "multistep",
    "--model.pixels.mean=.nan": "finite",
    "--model.pixels.mean=[1,2]": "Expected float or tuple with 3 elements. Got value: [1, 2]",
    "--model.pixels.std=0": "positive",
    "--model.pixels.std=.inf": "finite",
    "--ema_decay=1": "[0, 1)",
    "--ema_decay=.nan": "[0, 1)",
    "--ema_decay=x": "Expected float or null",
    "--precise_bn=0": "at least 1",
    "--seed_everything=-1": "in 0 to 2**32 - 1",
    "--seed_everything=99999999999999999999": "in 0 to 2**32 - 1",
    "--name=../../x": "that of a folder in runs_dir",
    "--name=/tmp/x": "that of a folder in runs_dir",
    "--name=a/b": "that of a folder in runs_dir",
    "--name=..": "that of a folder in runs_dir",
    "--name=": "name is empty",
    "--name=a\x1b[2Jb": "can be printed",
    "--name=a\nb": "can be printed",
    "--runs_dir=": "runs_dir is empty",
    "--runs_dir=/dev/null": "can't write into",
    "--runs_dir=manifest.csv": "can't write into",
    "--ckpt_path=gone.ckpt": "no checkpoint gone.ckpt",
    "--ckpt_path=/": "no checkpoint /",
    "--ckpt_path=": "ckpt_path is empty",
    "--trainer=3": "Unable to load config '3'",
    "--trainer.accelerator=x": "invalid accelerator",
    "--trainer.accelerator=tpu": "torch_xla",
    "--trainer.devices=0": "number of processes",
    "--trainer.devices=-1": "number of processes",
    "--trainer.devices=x": "number of processes",
    "--trainer.num_nodes=0": "at least 1",
    "--trainer.strategy=x": "invalid strategy",
    "--trainer.strategy=fsdp": "fsdp",
    "--trainer.precision=x": "'16-mixed'",
    "--trainer.precision=transformer-engine": "transformer_engine",
    "--trainer.max_epochs=0": "at least 1",
    "--trainer.max_epochs=-1": "known length",
    "--trainer.max_epochs=-5": "at least 1",
    "--trainer.max_epochs=1.5": "Expected int or null. Got value: 1.5",
    "--trainer.max_steps=0": "at least 1",
    "--trainer.min_epochs=-1": "at least 0",
    "--trainer.min_epochs=5": "at most trainer.max_epochs, got 5 and 1",
    "--trainer.max_time=x": "DD:HH:MM:SS",
    "--trainer.limit_train_batches=0": "leaves nothing to do",
    "--trainer.limit_train_batches=0.0": "leaves nothing to do",
    "--trainer.limit_train_batches=-1": "limit_train_batches",
    "--trainer.limit_train_batches=.nan": "limit_train_batches",
    "--trainer.limit_val_batches=1.5": "limit_val_batches",
    "--trainer.fast_dev_run=-1": "fast_dev_run",
    "--trainer.overfit_batches=-1": "overfit_batches",
    "--trainer.val_check_interval=0": "above 0",
    "--trainer.val_check_interval=.nan": "above 0",
    "--trainer.val_check_interval=99": "less than or equal to the number of the training batches",
    "--trainer.check_val_every_n_epoch=0": "at least 1",
    "--trainer.num_sanity_val_steps=-5": "at least 0",
    "--trainer.log_every_n_steps=-1": "at least 0",
    "--trainer.accumulate_grad_batches=0": "at least 1",
    "--trainer.accumulate_grad_batches=-1": "at least 1",
    "--trainer.gradient_clip_val=-1": "at least 0",
    "--trainer.gradient_clip_val=.nan": "finite",
    "--trainer.gradient_clip_algorithm=x": "value",
    "--trainer.profiler=x": "simple",
    "--trainer.default_root_dir=/tmp": "runs_dir/name",
    "--trainer.callbacks=nope.X": "'nope.X': No module named 'nope'",
    "--trainer.callbacks=EarlyStopping": "monitor",
    "--trainer.max_epoch=1": "trainer.max_epochs",
    "--nope=1": "nope",
    "--data.batch_size": "expected one argument",
    "nope": "nope",
}

WITHOUT_GPU = {
    "--trainer.accelerator=gpu": "no GPU is available",
    "--trainer.accelerator=cuda": "no GPU is available",
    "--trainer.accelerator=gpu --trainer.devices=5": "no GPU is available",
    "--trainer.accelerator=auto --trainer.devices=5": "for 5 processes on the CPU add trainer.accelerator cpu",
}

CONFIGS = {
    "": "bad.yaml: the file is empty",
    "# nothing\n": "bad.yaml: the file is empty",
    b"\x00\xff\xfe": "bad.yaml: not a text file in UTF-8",
    b"\x89PNG\r\n\x1a\n": "bad.yaml: not a text file in UTF-8",
    "- 1\n- 2\n": "expected settings such as 'name: mine', got a list",
    "hello\n": "expected settings such as 'name: mine', got one value",
    "model:\n  lr: 1\n bad: [\n": "bad.yaml:3: not YAML",
    "model:\n\tlr: 1\n": "bad.yaml:2: not YAML",
    "model: {lr: 1\n": "bad.yaml:2: not YAML",
    "model:\n  lr: 1\n  lr: 2\n": "bad.yaml:3: the key 'lr' stands in line 2 already",
    "model: {lr: 1}\ndata: {}\nmodel: {lr: 1}\n": "bad.yaml:3: the key 'model' stands in line 1 already",
    "model: {lr: 1, lr: 1}\n": "bad.yaml:1: the key 'lr' stands in line 1 already",
    "name: a\n---\nname: b\n": "bad.yaml:2: not YAML",
    "name: " + "a" * (1 << 21): "at most 1 MiB",
    "model: 3\n": "expected model to be settings by their names, got 3",
    "model: null\n": "expected model to be settings by their names, got None",
    "trainer: [1]\n": "expected trainer to be settings by their names, got [1]",
    "model: {optim: 3}\n": "expected model.optim to be settings by their names, got 3",
    "data: {clip: [8, 8]}\n": "expected data.clip to be settings by their names, got [8, 8]",
    "model: {block: 3}\n": "Expected dict or null. Got value: 3",
    "data: {manifest: 3}\n": "Expected dict or str or null. Got value: 3",
    "name: 5\n": "Expected str. Got value: 5",
    "name: null\n": "name is null",
    "seed_everything: null\n": "seed_everything is null",
    "name: ../x\n": "that of a folder in runs_dir",
    "model: {lr: .nan}\n": "finite",
    "modle: {lr: 1}\n": "modle",
    "model: {block_s: gc5}\n": "did you mean: model.blocks",
    "model: {optim: {lr_batch: [1]}}\n": "Expected int or null. Got value: [1]",
    "name: !!python/object/apply:os.getcwd []\n": "could not determine a constructor",
    "trainer: {callbacks: [{class_path: nope.X}]}\n": "nope",
    "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitr: x}}]}\n": "monitr",
    "? [a]\n: 1\n": "Problems parsing config",
}

MANIFESTS = {
    "": "the manifest is empty",
    "path,label,split\n": "a header and no rows",
    "path;label;split\ntrain0.mp4;x;train\n": "expected 'path label' with an integer label",
    "file,class\na,b\n": "wrong header",
    "path,label,split\ntrain0.mp4,x\n": "line 2: expected 3 columns",
    "path,label,split\ntrain0.mp4,,train\n": "line 2: expected a label without blanks around it, got ''",
    "path,label,split\ntrain0.mp4, x,train\n": "line 2: expected a label without blanks around it, got ' x'",
    "path,label,split\n,x,train\nval0.mp4,y,val\n": "line 2: no path",
    "path,label,split\ntrain0.mp4,x,train\n./train0.mp4,y,train\n": "line 3: 'train0.mp4' is listed in line 2 already",
    "path,label,split\ntrain0.mp4,x,train\nval0.mp4,x,val\n": "at least two classes, got ['x']",
    "path,label,split\nval0.mp4,x,val\ntest0.mp4,y,test\n": "no rows of split 'train'; splits there: test, val",
    "path,label\ntrain0.mp4,x\nval0.mp4,y\n": "it has no column 'split'; to make them: gcvideo split manifest.csv",
    'path,label,split\ntrain0.mp4,"x\ny",train\nval0.mp4,y,val\n': "line 2: expected a label without line ends",
    "label,youtube_id,time_start,time_end,split\nx,abcdefghijk,1,2,train\ny,abcdefghijk,3,4,val\n": "none of 1",
    "path,label,split\n../train0.mp4,x,train\nval0.mp4,y,val\n": "leads out of the root folder",
    "path,label,split\n/etc/passwd,x,train\nval0.mp4,y,val\n": "leads out of the root folder",
    "path,label,split\ngone.mp4,x,train\nval0.mp4,y,val\n": "line 2: missing file",
    "path,label,split\n.,x,train\nval0.mp4,y,val\n": "line 2: not a regular file",
    "path,label,split\n" + "".join(f"gone{i}.mp4,{'xy'[i % 2]},train\n" for i in range(50)): "... and 47 more",
    'path,label,split\n"train0.mp4,x,train\n': "expected 3 columns",
    b"path,label\n\xff\xfe,x\n": "not a text file in UTF-8",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a data set of 18 files whose contents nobody reads, base.yaml, and nothing else."""
    rows = [(f"{split}{n}.mp4", "xy"[n % 2], split) for split in ("train", "val", "test") for n in range(6)]
    for name, _, _ in rows:
        (tmp_path / name).touch()
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    (tmp_path / "base.yaml").write_text(BASE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def message_of(capsys):
    """Runs a command line in this process: exit status, and the lines from "error: " on."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main(arguments)
        except SystemExit as stopped:
            status = stopped.code
        except Exception as error:  # what would be a traceback
            return None, [f"{type(error).__name__}: {error}"]
        lines = capsys.readouterr().err.splitlines()
        first = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        return status, lines[first[0] :] if first else lines

    return run


def complaint(outcome, expected, status=2):
    """What is wrong with an outcome; None if it is one short error that says what is expected."""
    got, lines = outcome
    # jsonargparse's texts that name an option are two lines.
    text = " ".join(lines)
    if got != status or not 1 <= len(lines) <= 5 or not text.startswith("error: ") or expected not in text:
        return f"{got}: {lines[:8]} (expected {status}: {expected!r})"
    return None


def refuse_all(faults, message_of, what, cases, command):
    """Run the command of each case, and expect a short error that has its text."""
    with faults("input", what, expected="at most five lines, exit status 2", injected=len(cases)) as fault:
        problems = {str(case)[:200]: complaint(message_of(*command(case)), text) for case, text in cases.items()}
        assert not {case: problem for case, problem in problems.items() if problem}
        fault.observed = f"{len(cases)} of {len(cases)} refused"


def test_bad_values(faults, folder, message_of):
    before = {path.name for path in folder.iterdir()}
    refuse_all(
        faults, message_of, "a bad value on the command line", VALUES,
        lambda case: ["fit", "--config", "base.yaml", case],
    )  # fmt: skip
    assert not {path.name for path in folder.iterdir()} - before - {"runs"}
    assert not list(folder.glob("runs/**/*.ckpt"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(faults, folder, message_of):
    refuse_all(
        faults, message_of, "a GPU that is not there", WITHOUT_GPU,
        lambda case: ["fit", "--config", "base.yaml", *case.split()],
    )  # fmt: skip


def test_bad_configurations(faults, folder, message_of):
    def command(content):
        Path("bad.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["fit", "--config", "base.yaml", "--config", "bad.yaml"]

    refuse_all(faults, message_of, "a bad configuration file", CONFIGS, command)


def test_groups_of_settings_that_are_files(faults, folder, message_of):
    Path("empty.yaml").touch()
    Path("binary.yaml").write_bytes(b"\xff\xfe")
    Path("twice.yaml").write_text("name: sgd\nname: adamw\n")
    Path("folder.yaml").mkdir()
    cases = {
        ("--model.optim", "empty.yaml"): "empty.yaml: the file is empty",
        ("--model.optim=empty.yaml",): "empty.yaml: the file is empty",
        ("--model", "binary.yaml"): "binary.yaml: not a text file in UTF-8",
        ("--model.optim", "twice.yaml"): "twice.yaml:2: the key 'name' stands in line 1 already",
        ("--data", "folder.yaml"): "folder.yaml is a folder",
        ("--config", "folder.yaml"): "folder.yaml is a folder",
        ("--config", "."): ". is a folder",
        ("--config", "gone.yaml"): "no configuration file 'gone.yaml'",
        ("--config", "x" * 5000): "no configuration file 'xxx",
        ("--config",): "expected one argument",
    }
    refuse_all(faults, message_of, "a file that is no group of settings", cases, lambda case: ["fit", *case])


def test_no_manifest(faults, folder, message_of):
    """The current folder is full of videos, and is not taken for a data set."""
    expected = "data.manifest is not set: expected a CSV with the columns path, label, split"
    Path("no.yaml").write_text(BASE.replace("manifest: manifest.csv", "root: ."))
    cases = {(): expected, ("--config", "no.yaml"): expected, ("--model.network=slowonly_tiny",): expected}
    refuse_all(faults, message_of, "no manifest", cases, lambda case: ["fit", *case])


def test_bad_manifests(faults, folder, message_of):
    def command(content):
        Path("manifest.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["fit", "--config", "base.yaml"]

    refuse_all(faults, message_of, "a bad manifest", MANIFESTS, command)


def test_other_verbs(faults, folder, message_of):
    Path("twice.yaml").write_text("name: a\nname: b\n")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    cases = {
        ("test", "--name", "gone"): "no checkpoint runs/gone/checkpoints/best.ckpt",
        ("test", "--name", "../x"): "that of a folder in runs_dir",
        ("validate", "--trainer.limit_val_batches=0", "--ckpt_path=x"): "leaves nothing to do for validate",
        ("test", "--trainer.limit_test_batches=0", "--ckpt_path=x"): "leaves nothing to do for test",
        ("predict", "x.mp4", "--name", "gone"): "no run or checkpoint runs/gone",
        ("sweep", "twice.yaml"): "twice.yaml:2: the key 'name' stands in line 1 already",
        ("sweep", "binary.yaml"): "binary.yaml",
        ("--config", "base.yaml", "fit"): "no verb '--config'",
        ("fitt",): "no verb 'fitt'",
    }
    refuse_all(faults, message_of, "a wrong request to another verb", cases, lambda case: case)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Some bytes set, deleted, inserted or doubled."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] = rng.choice(b'",\n:\r\x00\xff {}[]-x\t&*!')
            case 1:
                del changed[at : at + rng.randint(1, 30)]
            case 2:
                changed.insert(at, rng.choice(b'",\n:\r\x00\xff {}[]-x\t&*!'))
            case _:
                changed[at:at] = changed[at : at + rng.randint(1, 60)]
        changed = changed or bytearray(b"x")
    return bytes(changed)


def test_mutated_manifests(faults, folder):
    """Read, or refused in at most five lines; what is read are the videos that are there, each once."""
    rng, count, refused = random.Random(0), 300, 0
    content = Path("manifest.csv").read_bytes()
    with faults("input", "a manifest with random changes", expected="read, or refused", injected=count) as fault:
        for _ in range(count):
            Path("m.csv").write_bytes(mutated(content, rng))
            try:
                read_class_names("m.csv")
                videos = read_manifest("m.csv")
            except ManifestError as error:
                refused += 1
                message = str(error)
            else:
                message = ""
                assert all(Path(video.name).is_file() for video in videos)
                assert len({video.name for video in videos}) == len(videos)
            assert len(message.splitlines()) <= 5, message
        fault.observed = f"{refused} refused, {count - refused} still valid"
        assert refused > count / 3


def test_mutated_configurations(faults, folder, message_of):
    """Read, or refused in at most five lines."""
    rng, count, refused = random.Random(1), 60, 0
    with faults("input", "a configuration with random changes", expected="read, or refused", injected=count) as fault:
        for _ in range(count):
            Path("m.yaml").write_bytes(mutated(BASE.strip().encode(), rng))
            status, lines = message_of("fit", "--config", "m.yaml", "--print_config")
            content = Path("m.yaml").read_bytes()
            assert status in (0, 2), (content, lines)
            if status == 2:
                refused += 1
                assert len(lines) <= 5, (content, lines)
        fault.observed = f"{refused} refused, {count - refused} still valid"
        assert refused > count / 3


def test_warnings_of_splits(faults, folder, message_of, recwarn):
    """One line each, and once; the run goes on to its next problem, a video that is empty."""
    rows = Path("manifest.csv").read_text().splitlines()
    Path("only_val.mp4").touch()
    Path("manifest.csv").write_text("\n".join([*rows, "train0.mp4,x,val", "only_val.mp4,z,val"]) + "\n")
    with faults("input", "files in two splits, a label without training", expected="a warning each", injected=2):
        status, _ = message_of("fit", "--config", "base.yaml")
        assert status == 1
        texts = [str(warning.message) for warning in recwarn if "split" in str(warning.message)]
        assert len(texts) == 2
        assert "1 file(s) in both split 'train' and split 'val', such as 'train0.mp4' (lines 2 and 20)" in texts[0]
        assert "1 label(s) of split 'val' never occur in split 'train', such as 'z' (line 21)" in texts[1]


NET = """
import torch

class Greedy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(3, 6)

    def forward(self, x):
        torch.empty(1 << 60, dtype=torch.uint8)
        return self.last(x.mean((2, 3, 4)))
"""


def test_out_of_memory(faults, synthetic, tmp_path, monkeypatch, message_of):
    """A real allocation that fails, in a training step and in others of torch's and Python's."""
    monkeypatch.chdir(tmp_path)
    Path("greedy_net.py").write_text(NET)
    config = yaml.safe_load(BASE)
    config["model"] = {"net": "greedy_net.Greedy", "execution": {"channels_last": False}}
    config["data"]["manifest"] = str(synthetic)
    Path("net.json").write_text(json.dumps(config))
    with faults(
        "input", "a step that does not fit into memory", expected="the batch size and a hint", injected=1
    ) as fault:
        status, lines = message_of("fit", "--config", "net.json", "--model.net=greedy_net.Greedy")
        assert status == 1, lines
        assert re.match(r"error: out of memory with clips of 2 frames and data.batch_size 2: lower it", lines[0]), lines
        assert len(lines) == 2
        fault.observed = lines[0]
    data = {
        "batch_size": 2,
        "loading": {"eval_batch_size": 3},
        "views": {"temporal": 4, "spatial": 1},
        "clip": {"frames": 8},
    }
    errors = (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError(
            "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
            "RuntimeError: [enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
        ),
    )
    hints = {"fit": "data.batch_size 2", "validate": "data.loading.eval_batch_size 3", "test": "4 x 1 views of a video"}
    for error in errors:
        for verb, hint in hints.items():
            assert is_out_of_memory(error)
            with pytest.raises(GcvideoError, match=hint) as caught, out_of_memory(verb, data):
                raise error
            assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(RuntimeError, match="shape"), out_of_memory("fit", data):
        raise RuntimeError("shape")
