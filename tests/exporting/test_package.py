"""Packages and hub folders: what is saved is loaded, nothing else, and offline."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

import gcvideo
from gcvideo.errors import UsageError
from gcvideo.exporting import export
from gcvideo.training.package import read_package
from tests.trained import Colour, write_run


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("runs") / "tiny", ["a", "b", "ü|c"])
    return gcvideo.load(run, device="cpu")


def test_a_package_is_the_model(recognizer, tmp_path, numbered_clip):
    assert "gcvideo.load" in export(recognizer, tmp_path / "shared.safetensors", "package")
    again = gcvideo.load(tmp_path / "shared.safetensors", device="cpu")
    assert (again.name, again.class_names) == ("tiny", ["a", "b", "ü|c"])
    assert (again.clip, again.views) == (recognizer.clip, recognizer.views)
    video = numbered_clip(30)
    assert torch.equal(again.predict(video).scores, recognizer.predict(video).scores)
    export(again, tmp_path / "again.safetensors", "package")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "shared.safetensors").read_bytes()


def test_a_package_has_no_paths(tmp_path):
    run = write_run(tmp_path / "secret" / "run", manifest="/home/someone/manifest.csv")
    export(gcvideo.load(run, device="cpu"), tmp_path / "a.safetensors", "package")
    data = (tmp_path / "a.safetensors").read_bytes()
    assert b"someone" not in data
    assert b"secret" not in data


def test_a_network_of_ones_own_in_a_package(tmp_path, numbered_clip):
    own = gcvideo.load(write_run(tmp_path / "own", net=Colour()), device="cpu", net=Colour())
    export(own, tmp_path / "a.safetensors", "package")
    with pytest.raises(UsageError, match="holds a network of its own, tests.trained.Colour"):
        gcvideo.load(tmp_path / "a.safetensors")
    again = gcvideo.load(tmp_path / "a.safetensors", "cpu", net=Colour())
    assert again.predict(numbered_clip(9)).names == own.predict(numbered_clip(9)).names


def change(recognizer, path, **changes):
    """A package with other settings."""
    export(recognizer, path, "package")
    content = read_package(path)
    settings = {
        "format": 1, "name": "x", "model": content["hyper_parameters"], "data": content["datamodule_hyper_parameters"]
    }  # fmt: skip
    save_file(content["state_dict"], path, {"gcvideo": json.dumps({**settings, **changes})})


def test_packages_that_are_none(recognizer, tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"x": torch.zeros(3)}
    export(recognizer, path, "package")
    whole = path.read_bytes()

    def told():
        with pytest.raises(UsageError) as error:
            gcvideo.load(path)
        assert "\n" not in str(error.value)
        return str(error.value)

    for content in (b"", b"1234567", b"x" * 100, whole[:-10], struct.pack("<Q", 2**40) + b"{}"):
        path.write_bytes(content)
        assert "is not a package of gcvideo" in told()
    save_file(tensors, path)
    assert "without the metadata 'gcvideo'" in told()
    for text in ("nonsense", "[1]", "[" * 100_000, '{"format": 2}'):
        save_file(tensors, path, {"gcvideo": text})
        assert "is not a package of gcvideo" in told()


def test_a_package_builds_no_network_that_it_has_no_weights_of(recognizer, tmp_path):
    path = tmp_path / "a.safetensors"
    model = dict(recognizer.task.hparams)
    for changes in (
        {"model": {**model, "network": "slowonly_r101"}},
        {"model": {**model, "class_names": ["a", "b"]}},
        {"model": {**model, "weights": "x.pth", "class_names": None}},
        {"model": None},
        {"model": {"network": "x"}},
        {"data": {"clip": {"frames": 10**9}}},
        {"data": []},
    ):
        change(recognizer, path, **changes)
        with pytest.raises(UsageError) as error:
            gcvideo.load(path)
        assert len(str(error.value)) < 600


def test_a_hub_folder_offline(recognizer, tmp_path, numbered_clip, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from gcvideo.exporting.hub import HubModel

    folder = tmp_path / "hub"
    export(recognizer, folder, "hub")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    config = json.loads((folder / "config.json").read_text())
    assert (config["class_names"], config["network"]) == (recognizer.class_names, "slowonly_tiny")
    expected = recognizer.predict(numbered_clip(30)).scores
    again = HubModel.from_pretrained(folder)
    assert torch.equal(again.recognizer.predict(numbered_clip(30)).scores, expected)
    assert torch.equal(gcvideo.load(folder, "cpu").predict(numbered_clip(30)).scores, expected)
    frames = recognizer.read(numbered_clip(30))[None]
    assert torch.equal(again(frames), recognizer.task(frames))
    assert set(again.state_dict()) == {f"task.{name}" for name in recognizer.task.state_dict()}
    with pytest.raises(UsageError, match="exists and is not an empty folder"):
        export(recognizer, folder, "hub")


def test_the_card_of_a_tested_run(tmp_path):
    pytest.importorskip("huggingface_hub")
    run = write_run(tmp_path / "tested", ["a", "b", "<script>"])
    report = {"evaluated": 40, "listed": 41, "video_top1": 0.75, "video_top5": 1.0, "per_class": [{}] * 3}
    (run / "report.json").write_text(json.dumps(report))
    (run / "config.yaml").write_text(
        "data:\n  manifest: /home/me/gestures/manifest.csv\n  batch_size: 4\ntrainer:\n  max_epochs: 7\n"
    )
    from gcvideo.exporting.card import model_card

    card = model_card(gcvideo.load(run, device="cpu"))
    assert card.startswith("---\nlibrary_name: gcvideo\n")
    assert "| top-1 | 0.750 | 0.598 to 0.858 |" in card  # statsmodels' proportion_confint(30, 40, method="wilson")
    assert "top-5" not in card  # of three classes
    assert "40 of 41 test videos" in card
    assert "`gestures/manifest.csv`" in card
    assert "/home/me" not in card
    assert "- epochs: 7\n" in card
    assert "<script>" not in card
    assert "## Limits" in card
    (run / "report.json").unlink()
    (run / "config.yaml").write_text("[")
    card = model_card(gcvideo.load(run, device="cpu"))
    assert "Not measured: no report of a test." in card
    assert "Unknown: the model was not exported from the folder of its run." in card
