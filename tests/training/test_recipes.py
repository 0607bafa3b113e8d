"""The tables of docs/training.md that compare recipes with their sources, setting by setting."""

import importlib.metadata
import re
import runpy
from pathlib import Path

import pytest
import yaml

from gcvideo.cli.main import main

ROOT = Path(__file__).parents[2]
SECTION = re.search(r"## Recipes and their sources\n(.*?)\n## ", (ROOT / "docs/training.md").read_text(), re.DOTALL)[1]
TABLES = dict(
    zip(("scratch", "imagenet", "mmaction2"), re.findall(r"(?:^\|.*\n)+", SECTION, re.MULTILINE), strict=True)
)
MMACTION2 = "mmaction/.mim/configs/recognition/slowonly/slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb.py"


def rows(recipe):
    """(setting, value here, cell of the source)."""
    for line in TABLES[recipe].splitlines()[2:]:
        setting, here, there = (cell.strip() for cell in line.strip("|").split(" | "))
        yield setting.strip("`"), yaml.safe_load(here.strip("`")), there


def look_up(settings, name):
    """A dotted name in nested settings; in a list, the last entry of that type. None if there is none."""
    for part in name.split("."):
        if isinstance(settings, list):
            settings = [entry for entry in settings if entry["type"] == part][-1]
        else:
            settings = settings.get(part)
    return settings


@pytest.mark.parametrize("recipe", TABLES)
def test_what_the_tables_say_is_what_a_fit_gets(recipe, capsys):
    with pytest.raises(SystemExit):
        main(["fit", f"--config={ROOT}/configs/kinetics/{recipe}.yaml", "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    for setting, here, _ in rows(recipe):
        assert look_up(config, setting) == here, setting


@pytest.mark.parametrize("recipe", TABLES)
def test_the_tables_have_every_setting_of_the_recipe(recipe):
    from tests.test_configs import leaves, read

    named = {setting for setting, _, _ in rows(recipe)}
    where = {"data.manifest", "data.splits.test"}
    stated = {f"{group}.{name}" for group, values in read([f"kinetics/{recipe}"]).items() for name, _ in leaves(values)}
    assert stated - where <= named


def read_mmengine(path):
    """The names that a configuration of mmaction2 defines, over those of the files that it builds upon."""
    own = {name: value for name, value in runpy.run_path(str(path)).items() if not name.startswith("__")}
    merged = {}
    for base in own.pop("_base_", []):
        merged = over(merged, read_mmengine(path.parent / base))
    return over(merged, own)


def over(base, changes):
    merged = dict(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = over(merged[name], value) if both else value
    return merged


# Setting -> our value, from mmaction2's; "not set" is None.
CONVERSIONS = {
    "model.network": {"ResNet3dSlowOnly": "slowonly_r50"}.get,
    "model.optim.name": str.lower,
    "model.optim.nesterov": bool,  # torch's default
    "model.optim.decay": {None: "all"}.get,
    "model.schedule.name": {"CosineAnnealingLR": "cosine"}.get,
    "model.pixels.mean": lambda values: [pytest.approx(value / 255) for value in values],
    "model.pixels.std": lambda values: [pytest.approx(value / 255) for value in values],
    "data.clip.short": {None: "loop"}.get,  # the default of SampleFrames
    "data.clip.spacing": {"SampleFrames": "mmaction"}.get,
    "data.augment.min_area": {None: 0.08}.get,  # the default of RandomResizedCrop
    "data.augment.size": max,
    "data.augment.flip": {0.5: True}.get,
    "data.views.spatial": {"ThreeCrop": 3}.get,
    "data.views.short_side": max,
}


def test_the_mmaction2_column_is_what_its_wheel_ships():
    try:
        path = importlib.metadata.distribution("mmaction2").locate_file(MMACTION2)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("mmaction2 is not installed: see tests/peers.txt")
    source = read_mmengine(Path(path))
    for setting, here, there in rows("mmaction2"):
        name, said = re.fullmatch(r"`cfg\.([\w.]+)` (.+)", there).groups()
        value = look_up(source, name)
        assert said == ("not set" if value is None else str(value)), name
        assert CONVERSIONS.get(setting, lambda value: value)(value) == here, setting


def test_the_learning_rate_differs_from_mmaction2_as_the_recipe_says():
    """A cosine of the whole run from epoch 34 on, instead of one of 222 epochs that begins at the peak."""
    from gcvideo.training.schedule import Schedule

    ours = [Schedule(warmup_epochs=34).factor(epoch, 256, 1) for epoch in range(256)]
    assert max(ours) == pytest.approx(0.957, abs=1e-3)
    head = (ROOT / "configs/kinetics/mmaction2.yaml").read_text()
    assert f"at {max(ours):.2f} of the\n#   peak" in head
