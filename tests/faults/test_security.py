"""Files from strangers: nothing in them runs, none costs more than it is worth, each is told in one line."""

import copy
import pickle
import random
import sys
import time
import warnings
import zipfile
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import pytest
import torch
import yaml

from gcvideo.cli.main import main
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.models import create_model, load_weights
from gcvideo.models.checkpoint_file import read_checkpoint
from gcvideo.training.checkpoint import load_task, read_settings
from gcvideo.training.task import VideoTask
from tests.faults import attacks

pytestmark = pytest.mark.slow

READERS = {"read_checkpoint": read_checkpoint, "read_settings": read_settings, "load_task": load_task}


def told(function, *args, required=True):
    """Whether a call is refused in one line with exit status 2; any other error fails."""
    refusal = None
    try:
        function(*args)
    except UsageError as error:
        refusal = error
    assert refusal or not required, f"{function.__name__} accepted it"
    if refusal is None:
        return False
    message = str(refusal)
    assert refusal.exit_status == 2
    assert 0 < len(message) < 700, message[:700]
    assert "\n" not in message
    return True


@pytest.fixture
def checkpoint(tmp_path):
    """Content of a checkpoint of a run, and a function that writes a changed one."""
    task = VideoTask(["a", "b"], "slowonly_tiny", "gc_all")
    content = {
        "state_dict": task.state_dict(),
        "hyper_parameters": dict(task.hparams),
        "datamodule_hyper_parameters": {"manifest": "m.csv", "clip": {"frames": 4}},
    }

    def write(**changes):
        file = tmp_path / "run.ckpt"
        torch.save({**content, **changes}, file)
        return file

    return content, write


def test_the_corpus_is_alive(tmp_path):
    """Without our readers the gadgets leave marks; a corpus that does nothing would prove nothing."""
    mark, alive = tmp_path / "mark", 0
    for what, data in attacks.gadgets(mark):
        if what.startswith(("builtins.", "io.", "_io.", "gcvideo.")):  # the others start processes
            with suppress(Exception):
                pickle.loads(data)
            alive += mark.exists()
            mark.unlink(missing_ok=True)
    assert alive >= 30


@pytest.mark.parametrize("container", ("caffe2", "zip", "legacy"))
def test_gadgets(tmp_path, faults, container, monkeypatch):
    """Every way to call something, for every reader, also with the variable that switches torch's check off."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "mark"
    gadgets = dict(attacks.gadgets(mark))
    suffix, wrap = {
        "caffe2": (".pkl", lambda data: data),
        "zip": (".ckpt", attacks.archive),
        "legacy": (".pth", attacks.legacy),
    }[container]
    readers = [read_checkpoint] if container == "caffe2" else list(READERS.values())
    expected = "one line, exit status 2, nothing executed"
    with faults("security", f"pickles that call something ({container})", expected=expected, injected=len(gadgets)):
        for number, (_, data) in enumerate(gadgets.items()):
            file = tmp_path / f"evil{suffix}"
            file.write_bytes(wrap(data))
            assert told(readers[number % len(readers)], file)
            assert not mark.exists()


def test_numpy_tricks(tmp_path, faults):
    """Among them the one that wrote to any address through a dtype's state."""
    tricks = attacks.numpy_tricks()
    with faults("security", "pickles of arrays that lie", expected="one line, no crash", injected=len(tricks)):
        for data in tricks.values():
            (tmp_path / "a.pkl").write_bytes(data)
            begin = time.monotonic()
            assert told(read_checkpoint, tmp_path / "a.pkl")
            assert time.monotonic() - begin < 5


def caffe2_bytes(protocol=2):
    generator = np.random.default_rng(0)
    blobs = {
        "conv1_w": generator.random((4, 3, 2), np.float32),
        "fortran": np.asfortranarray(generator.random((3, 2))),
        "big": np.arange(3, dtype=">i4"),
        "half": np.float16([1, 2]),
        "lr": np.float32(0.5),
        "names": np.array(["a", "b"]),
        "empty": np.zeros((0, 3), np.float32),
        "plain": OrderedDict(x=1),
    }
    return blobs, pickle.dumps({"blobs": blobs}, protocol)


@pytest.mark.parametrize("protocol", (0, 1, 2, 3, 4))
def test_honest_arrays_are_read(tmp_path, protocol):
    blobs, data = caffe2_bytes(protocol)
    (tmp_path / "a.pkl").write_bytes(data)
    state = read_checkpoint(tmp_path / "a.pkl").state
    assert set(state) == {"conv1_w", "fortran", "big", "half", "lr", "empty"}
    for name, value in state.items():
        assert value.shape == blobs[name].shape
        assert np.array_equal(value.numpy(), blobs[name])
        value.zero_()  # in memory of its own


def test_mutated_files(tmp_path, faults, checkpoint):
    """Flipped bits, cut and doubled bytes: an error in one line, or (in the weights) other numbers."""
    generator = random.Random(0)
    _, write = checkpoint
    whole = {"a.pkl": caffe2_bytes()[1], "a.ckpt": write().read_bytes()}
    # In a checkpoint only its names and values: the rest is weights, or found by the checksum of torch's archive.
    with faults("security", "mutated checkpoints", expected="one line or read", injected=300) as fault:
        refused = 0
        for number in range(300):
            name = "a.pkl" if number % 3 else "a.ckpt"
            data = bytearray(whole[name])
            for _ in range(generator.choice((1, 1, 2, 8))):
                at = generator.randrange(min(len(data), 6000))
                data[at] ^= 1 << generator.randrange(8)
            if number % 7 == 0:
                del data[generator.randrange(len(data)) :]
            (tmp_path / name).write_bytes(data)
            refused += told(read_settings if name == "a.ckpt" else read_checkpoint, tmp_path / name, required=False)
        fault.observed = f"{refused} refused in one line, {300 - refused} read"


def test_archives_that_lie(tmp_path, faults, checkpoint):
    """Compressed, overlapping and damaged archives, and too many names."""
    good = pickle.dumps({"state_dict": {}}, protocol=2)
    zeros = bytes(50 << 20)
    overlap = bytearray(attacks.archive(good))
    at = overlap.rindex(b"PK\x01\x02")
    overlap[at + 20 : at + 28] = b"\0\0\0\x40\0\0\0\x40"  # the last entry is 1 GB
    files = {
        "a zip bomb": attacks.archive(good, zipfile.ZIP_DEFLATED, bomb=zeros),
        "compressed values": attacks.archive(good, zipfile.ZIP_DEFLATED),
        "an entry larger than the file": bytes(overlap),
        "9 MB of values": attacks.archive(pickle.dumps(["x" * 9_000_000], protocol=2)),
        "3 million class names": attacks.archive(pickle.dumps([f"{n}" for n in range(3_000_000)], protocol=2)),
        "a million values by repetition": attacks.archive(b"\x80\x02]" + b"(]q\x00" + b"h\x00" * 2000 + b"e."),
        "no archive at all": b"PK\x03\x04" + bytes(100),
        "an empty archive": b"PK\x05\x06" + bytes(18),
        "a text": b"hello",
        "nothing": b"",
    }
    deep: list = []
    for _ in range(200):
        deep = [deep]
    files["deep nesting"] = attacks.archive(pickle.dumps(deep, protocol=2))
    wide = [0] * 1000
    for _ in range(3):
        wide = [wide] * 1000
    files["a thousand million values by repetition"] = attacks.archive(pickle.dumps(wide, protocol=2))
    with faults("security", "archives that lie", expected="one line at once", injected=3 * len(files)):
        for data in files.values():
            (tmp_path / "a.ckpt").write_bytes(data)
            for reader in READERS.values():
                begin = time.monotonic()
                assert told(reader, tmp_path / "a.ckpt")
                assert time.monotonic() - begin < 5


def test_tensors_that_lie(tmp_path, faults, checkpoint):
    content, write = checkpoint
    name, value = next((key, tensor) for key, tensor in content["state_dict"].items() if tensor.ndim == 5)
    shadowed = OrderedDict(content["state_dict"])
    shadowed.get = 5
    bad = {
        "another shape": value[:1],
        "expanded": torch.zeros(1).expand(value.shape),
        "sparse": value.to_sparse(),
        "quantised": torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        "meta": value.to("meta"),
        "no tensor": 5,
        "text": "x",
        "none": None,
        "a list": [1.0],
    }
    states = {what: {**content["state_dict"], name: tensor} for what, tensor in bad.items()}
    states |= {
        "missing": {key: tensor for key, tensor in content["state_dict"].items() if key != name},
        "superfluous": {**content["state_dict"], "net.evil": value},
        "a list": list(content["state_dict"]),
        "numbers as names": dict(enumerate(content["state_dict"].values())),
        "tensors as names": {**content["state_dict"], (1, 2): value},
        "shadowed methods": shadowed,
        "none": None,
        "text": "weights",
        "a tensor": value,
        "empty": {},
    }
    with faults("security", "weights of a wrong kind", expected="one line", injected=2 * len(states)):
        for state in states.values():
            file = write(state_dict=state)
            assert told(read_settings, file)
            assert told(load_task, file)


HOSTILE = (None, 5, -1, True, float("nan"), 1e300, "x" * 100_000, "\x1b]0;x\x07", [], {}, [[1]], {"a": {"b": 1}},
           {1: 2}, b"x", (1, 2), torch.zeros(3), torch.float16, {"_instantiator": "os.system"})  # fmt: skip


def test_settings_of_a_wrong_kind(tmp_path, faults, checkpoint):
    """Each setting of each group with each kind of value."""
    content, write = checkpoint
    settings = content["hyper_parameters"]
    nested = [("optim", name) for name in settings["optim"]] + [("schedule", name) for name in settings["schedule"]]
    places = [(name,) for name in settings] + [*nested, ("pixels", "mean"), ("pixels", "std"), ("execution", "compile")]
    values = HOSTILE[::2]
    injected = len(places) * len(values)
    with faults("security", "settings of a wrong kind", expected="one line or read", injected=injected) as fault:
        refused = 0
        for first, *rest in places:
            for value in values:
                changed = copy.deepcopy(settings)
                if rest:
                    changed[first][rest[0]] = value
                else:
                    changed[first] = value
                refused += told(read_settings, write(hyper_parameters=changed), required=False)
        fault.observed = f"{refused} refused in one line, {injected - refused} read"


def test_settings_that_are_no_settings(tmp_path, faults, checkpoint):
    content, write = checkpoint
    settings = content["hyper_parameters"]
    names = [f"{n}" for n in range(100_001)]
    bad = [
        *HOSTILE[:-1],
        {**settings, "_instantiator": "os.system"},
        {**settings, "_class_path": "os.system"},
        {**settings, "_instantiator": "pytorch_lightning.cli.instantiate_module", "_class_path": "os.system"},
        {**settings, 5: 1},
        {**settings, "class_names": ["a", 5]},
        {**settings, "class_names": "ab"},
        {**settings, "class_names": names},
        {**settings, "class_names": ["a", "b", "c"]},
        {**settings, "block": {"ratio": 1e9}},
        {**settings, "block": {"ratio": 200.0}},  # 10 GB, if it were built
        {**settings, "network": "i3d_r101"},
        {**settings, "network": "os.system"},
    ]
    with faults("security", "no settings of a run", expected="one line, nothing built", injected=2 * len(bad)):
        for value in bad:
            begin = time.monotonic()
            file = write(hyper_parameters=value)
            assert told(read_settings, file)
            assert told(load_task, file)
            assert time.monotonic() - begin < 10


def test_weights_with_hostile_company(tmp_path, faults):
    """What stands next to the weights: settings and the YAML of PySlowFast."""
    net = create_model("slowonly_tiny", "nl", num_classes=2, at={"res4": [0]})
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{b}, *{b}]\n" for b, c in zip("abcdefghijklmnopqrs", "bcdefghijklmnopqrst")
    )
    company = [
        {key: value}
        for key in ("cfg", "hyper_parameters", "epoch", "model", "blobs")
        for value in (*HOSTILE, bomb, "a: [" * 10_000, "x: 2020-13-45", "!!python/object/apply:os.system [x]")
    ]
    company += [{"hyper_parameters": {"blocks": "nl", "block": value}} for value in HOSTILE]
    company += [{"hyper_parameters": {"blocks": "nl", "block": {"mode": value}}} for value in HOSTILE]
    company += [{"cfg": yaml.safe_dump({"NONLOCAL": {"POOL": v}, "MODEL": {"ARCH": v}})} for v in HOSTILE[:12]]
    with faults("security", "hostile values next to weights", expected="one line or read", injected=len(company)):
        for more in company:
            torch.save({"model_state": net.state_dict(), **more}, tmp_path / "a.pyth")
            with warnings.catch_warnings(action="ignore"):
                told(load_weights, net, tmp_path / "a.pyth", required=False)


def told_by_cli(arguments, capsys):
    """Exit status and standard error of the command line in this process."""
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    return status, capsys.readouterr().err


EVIL = """
from pathlib import Path
Path({mark!r}).touch()
import torch

class Net(torch.nn.Module):
    pass

def hook(*args):
    pass
"""

NAMING = (
    "model: {{net: {{class_path: {0}.Net}}}}",
    "model: {{net: {0}.Net}}",
    "trainer: {{callbacks: [{{class_path: {0}.Net}}]}}",
    "trainer: {{callbacks: {{class_path: {0}.Net, init_args: {{x: 1}}}}}}",
    "trainer: {{callbacks: [{0}.Net]}}",
    "trainer: {{logger: {{class_path: {0}.Net}}}}",
    "trainer: {{logger: [{0}.Net]}}",
    "trainer: {{profiler: {{class_path: {0}.Net}}}}",
    "trainer: {{plugins: [{{class_path: {0}.Net}}]}}",
    "trainer: {{strategy: {{class_path: {0}.Net}}}}",
    "trainer: {{accelerator: {{class_path: {0}.Net}}}}",
    "trainer: {{callbacks: [{{class_path: pytorch_lightning.callbacks.LambdaCallback, "
    "init_args: {{on_fit_start: {0}.hook}}}}]}}",
    "trainer: {{callbacks: [{{class_path: pytorch_lightning.callbacks.LambdaCallback, "
    "init_args: {{on_fit_start: {{class_path: {0}.Net}}}}}}]}}",
    "trainer: {{callbacks: [{{class_path: LambdaCallback, init_args: {{setup: {0}.sub.hook}}}}]}}",
)
FUNCTIONS = ("os.abort", "os.system", "torch.os.abort", "posix.abort", "subprocess.call", "builtins.eval", "torch.load",
             "torch.hub.load", "pickle.loads", "jsonargparse.set_parsing_settings", "gcvideo.files.os.abort",
             "pytorch_lightning.cli.sys.exit", "numpy.load", "shutil.rmtree")  # fmt: skip


def test_code_that_a_configuration_names(tmp_path, faults, capsys, monkeypatch):
    """A module that leaves a mark when it is imported, and functions that exist."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL.format(mark=str(tmp_path / "mark")))
    configs = [text.format("evil") for text in NAMING]
    hook = NAMING[-3]
    configs += [hook.format("evil").replace("evil.hook", name) for name in FUNCTIONS]
    with faults("security", "code named in YAML", expected="one line, nothing imported", injected=len(configs)):
        for text in configs:
            (tmp_path / "a.yaml").write_text(text)
            status, error = told_by_cli(["fit", "--config", "a.yaml", "--data.manifest", "none.csv"], capsys)
            assert status == 2, text
            assert "--trust evil" in error or "may not name" in error or "add --trust" in error, (text, error)
            assert len(error.splitlines()) <= 5
            assert "evil" not in sys.modules
            assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "arguments",
    (["--model.net", "evil.Net"], ["--model.net=evil.Net"], ["--config", "a.yaml", "--trust", "evil"],
     ["--config", "a.yaml", "--trust=other,evil"], ["--model.net.class_path", "evil.Net"]),
)  # fmt: skip
def test_code_that_the_user_names(tmp_path, capsys, monkeypatch, arguments):
    """What is typed is a choice."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL.format(mark=str(tmp_path / "mark")))
    (tmp_path / "a.yaml").write_text(NAMING[0].format("evil"))
    status, error = told_by_cli(["fit", *arguments, "--data.manifest", "none.csv"], capsys)
    sys.modules.pop("evil", None)
    assert status == 2
    assert "none.csv: no such manifest" in error
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "arguments",
    (["--trust", "os"], ["--trust", "jsonargparse"], ["--trust"], ["--trust=a-b"],
     ["--trust=", "--model.net", "evil.Net"],
     ["--config", "a.yaml"], ["--model", "net.yaml"], ["--data.manifest", "evil.csv", "--config", "a.yaml"]),
)  # fmt: skip
def test_trust_that_is_not_given(tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL.format(mark=str(tmp_path / "mark")))
    (tmp_path / "a.yaml").write_text(f"trust: evil\n{NAMING[0].format('evil')}")
    (tmp_path / "net.yaml").write_text("net: {class_path: evil.Net}")
    assert "evil" not in sys.modules
    status, error = told_by_cli(["fit", *arguments], capsys)
    assert status == 2
    assert len(error.splitlines()) <= 5
    assert not (tmp_path / "mark").exists()


def test_yaml_without_end(tmp_path, faults, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    texts = {
        "an alias bomb": bomb,
        "an alias bomb of mappings": bomb.replace("[", "{k: [").replace("]", "]}"),
        "a merge bomb": "a: &a {x: 1}\n" + "".join(f"b{i}: &a {{<<: [*a, *a, *a]}}\n" for i in range(20)),
        "3 million class names": "data: {class_names: [" + "a, " * 3_000_000 + "]}",
        "90,000 class names": "data: {class_names: [" + ", ".join(f"a{i}" for i in range(90_000)) + "]}",
        "deep nesting": "data: " + "[" * 100_000,
        "deep mappings": "{a: " * 50_000,
        "an alias to itself": "model: {block: &b {x: *b}}",
        "an object": "model: !!python/object/apply:os.system [echo x]",
        "an unknown tag": "model: !evil {x: 1}",
        "no anchor": "model: *none",
    }
    files = {what: text.encode() for what, text in texts.items()}
    files["not text"] = b"\xff\xfe\x00\x01"
    told_by_cli(["fit", "--config", "none.yaml"], capsys)  # imports what the first call imports
    injected = 2 * len(files)
    with faults("security", "YAML without end", expected="one line at once", injected=injected) as fault:
        slowest = 0.0
        for what, data in files.items():
            (tmp_path / "a.yaml").write_bytes(data)
            for arguments in (["fit", "--config", "a.yaml"], ["sweep", "a.yaml"]):
                begin = time.monotonic()
                status, error = told_by_cli(arguments, capsys)
                slowest = max(slowest, time.monotonic() - begin)
                assert status == 2, what
                assert 1 <= len(error.splitlines()) <= 5
        fault.observed = f"the slowest took {slowest:.1f} s"
        assert slowest < 5


def test_a_sweep_trusts_no_code(tmp_path, faults, capsys, monkeypatch):
    """Its settings become arguments of other processes, which are not typed by anyone."""
    from gcvideo.sweep.file import Sweep

    sweep = Sweep("s", "c.yaml", {"a": {"model.net": "evil.Net"}}, "a", [0])
    arguments = sweep.arguments(sweep.runs[0])
    with faults("security", "code named in a sweep file", expected="refused", injected=2):
        assert "--trust=" in arguments
        for group in ({"settings": {"trust": "evil"}}, {"variants": {"a": {"trust": "evil"}}}):
            with pytest.raises(UsageError, match="trust"):
                Sweep(**{"name": "s", "config": "c", "variants": {"a": {}}, "baseline": "a", "seeds": [0], **group})


def test_what_a_checkpoint_does_not_decide(tmp_path, faults, capsys, monkeypatch, synthetic, checkpoint):
    """A stranger's checkpoint neither reads files, nor the network, nor lets broken videos pass."""
    from gcvideo.cli.adopted import FROM_CHECKPOINT, adopted_settings

    monkeypatch.chdir(tmp_path)
    evil = {
        "manifest": "/etc/passwd",
        "root": "http://127.0.0.1:9/",
        "predict": "/etc",
        "splits": {"test": "train"},
        "loading": {"skip_broken": True, "outside_root": True, "max_broken": 0.9, "timeout_s": 0},
        "decoder": "decord",
        "batch_size": 10**9,
        "num_workers": 10**6,
        "seed": 3,
        "clip": {"frames": 4},
        "class_names": ["a", "b"],
        "unknown": "x",
    }
    _, write = checkpoint
    file = write(datamodule_hyper_parameters=evil)
    with faults("security", "settings that are not a checkpoint's", expected="not taken", injected=len(evil)):
        taken = adopted_settings(file, tmp_path / "runs" / "default")["data"]
        assert set(taken) == {"clip", "class_names"}
        assert set(FROM_CHECKPOINT) == {"class_names", "label_separator", "clip", "augment", "views"}
        for verb in ("test", "validate"):
            status, error = told_by_cli([verb, "--ckpt_path", str(file), "--trainer.accelerator=cpu"], capsys)
            assert status == 2
            assert "pass --data.manifest" in error.splitlines()[-1]
        # In the folder of a run of one's own, config.yaml tells; it wins over what the checkpoint says of the files.
        run = tmp_path / "runs" / "default"
        (run / "checkpoints").mkdir(parents=True)
        best = run / "checkpoints" / "best.ckpt"
        best.write_bytes(file.read_bytes())
        own = {"manifest": str(synthetic), "clip": {"frames": 99}, "loading": {"skip_broken": False}}
        (run / "config.yaml").write_text(yaml.safe_dump({"data": own}))
        taken = adopted_settings(best, run)["data"]
        assert taken == {"manifest": str(synthetic), "clip": {"frames": 4}, "class_names": ["a", "b"],
                         "loading": {"skip_broken": False}}  # fmt: skip


def test_values_of_a_checkpoint_are_checked_like_typed_ones(tmp_path, faults, capsys, monkeypatch, checkpoint):
    content, write = checkpoint
    monkeypatch.chdir(tmp_path)
    changes = [
        {"lr": "much"},
        {"dropout": [1]},
        {"weights": 5},
        {"optim": {"momentum": "x"}},
        {"schedule": {"gamma": []}},
    ]
    clips = [{"clip": {"frames": "many"}}, {"clip": 5}, {"views": {"temporal": "x"}}, {"views": []}, {"augment": "x"},
             {"clip": {"frames": -1}}, {"clip": {"unknown": 1}}]  # fmt: skip
    files = [{"hyper_parameters": {**content["hyper_parameters"], **change}} for change in changes]
    files += [{"datamodule_hyper_parameters": clip} for clip in clips]
    with faults("security", "values of a wrong type in a checkpoint", expected="one line", injected=len(files)):
        for change in files:
            arguments = ["test", "--ckpt_path", str(write(**change)), "--data.manifest", "m.csv"]
            status, error = told_by_cli([*arguments, "--trainer.accelerator=cpu"], capsys)
            assert status == 2, change
            assert "Traceback" not in error
            assert error.splitlines()[-1].startswith("error: "), error


def test_checkpoints_on_the_command_line(tmp_path, faults, capsys, monkeypatch):
    """Lightning's own reading too, with torch's check switched off by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "mark"
    data = dict(attacks.gadgets(mark))["builtins.open by REDUCE"]
    (tmp_path / "evil.ckpt").write_bytes(attacks.archive(data))
    commands = [
        ["test", "--ckpt_path", "evil.ckpt"],
        ["validate", "--ckpt_path", "evil.ckpt"],
        ["predict", "x.mp4", "--ckpt_path", "evil.ckpt"],
        ["export", "evil.ckpt", "out.pyth"],
    ]
    with faults("security", "code in a checkpoint, every verb", expected="one line", injected=len(commands) + 2):
        for command in commands:
            status, error = told_by_cli(command, capsys)
            assert status == 2, command
            assert len(error.splitlines()) <= 2
            assert not mark.exists()
        for option in (["--weights_only", "false"], ["--weights_only=true"]):
            status, error = told_by_cli(["test", "--ckpt_path", "evil.ckpt", *option], capsys)
            assert status == 2
            assert not mark.exists()


def test_a_resumed_fit_reads_weights_only(tmp_path, synthetic, capsys, monkeypatch):
    """`fit --ckpt_path` is restored by Lightning."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "mark"
    (tmp_path / "evil.ckpt").write_bytes(attacks.archive(dict(attacks.gadgets(mark))["builtins.open by REDUCE"]))
    arguments = ["fit", "--data.manifest", str(synthetic), "--ckpt_path", "evil.ckpt", "--data.num_workers=0"]
    arguments += [
        "--model.network=slowonly_tiny",
        "--trainer.accelerator=cpu",
        "--data.augment.size=32",
        "--data.augment.short_side=[32,36]",
    ]
    # How it is told is tested with the checkpoints of runs.
    with suppress(GcvideoError, pickle.UnpicklingError, SystemExit):
        main(arguments)
    assert not mark.exists()
