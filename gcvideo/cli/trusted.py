"""Which code a configuration may name, and how large it may be.

`class_path: my_package.MyNet` imports my_package, and importing is running. Configurations are passed around, so a file
may name only classes of the packages below. What the user types is the user's choice: a name on the command line
(`--model.net my_package.MyNet`), and `--trust my_package` for names in files.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader, set_parsing_settings

from gcvideo.errors import UsageError
from gcvideo.yaml_text import check_yaml

PACKAGES = ("gcvideo", "pytorch_lightning", "lightning_fabric", "torch", "torchvision", "torchmetrics")

# Parts of them that load, build or run what they are given.
REFUSED = (
    "torch.hub",
    "torch.jit",
    "torch.load",
    "torch.package",
    "torch.serialization",
    "torch.export",
    "torch.ops",
    "torch.classes",
    "torch.utils.cpp_extension",
    "torch.utils.model_zoo",
    "torch.multiprocessing",
    "torch.distributed.run",
    "torch.distributed.launcher",
    "torch.distributed.elastic",
)

_LOADER_OF_JSONARGPARSE = get_loader("yaml")  # reads numbers as YAML 1.2 does: 1e-3 is one
_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+"

# jsonargparse takes time quadratic in the length of a list: 10 s for this many.
MAX_NODES = 5_000

_trusted: set[str] = set()
"""What the last call has allowed, to be taken back by the next one in the same process."""


def restrict_imports(args: Sequence[str]) -> list[str]:
    """Let configurations name only what is trusted; returns the arguments without `--trust`.

    `--trust PACKAGE[,...]` may be repeated. With it, only these packages are trusted, and not what else is typed: a
    sweep, whose arguments come from a file, passes `--trust=`.

    Raises:
        UsageError: not the name of a package.
    """
    kept, packages = _take_trust(args)
    allowed = set(_typed_packages(kept)) if packages is None else set(packages)
    taken_back = sorted(_trusted - allowed - set(PACKAGES))
    set_parsing_settings(
        import_path_denylist=["*", *REFUSED, *taken_back],
        import_path_allowlist=[*PACKAGES, *sorted(allowed)],
        # A class_path where any value is accepted is a value: no class is built for it.
        instantiate_subclass_spec_in_any=False,
    )
    set_loader("yaml", _load_yaml, exceptions=(yaml.YAMLError,))
    _trusted.clear()
    _trusted.update(allowed)
    return kept


def _load_yaml(text: str) -> Any:
    check_yaml(text, MAX_NODES)
    return _LOADER_OF_JSONARGPARSE(text)


def refusal(message: str) -> str | None:
    """What to tell of jsonargparse's message that a name is not allowed; None if it does not say so."""
    match = re.search(r"Importing '([\w.]+)' is not allowed", message)
    if match is None:
        return None
    package = match[1].partition(".")[0]
    if package in sys.stdlib_module_names or package in PACKAGES:
        return f"a configuration may not name {match[1]}, which is no class to configure a run with"
    return f"{match[1]} is named in a file: if you trust the code of {package}, add --trust {package}"


def _take_trust(args: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The other arguments, and the packages of all `--trust`; None without one."""
    kept: list[str] = []
    packages: list[str] | None = None
    rest = iter(args)
    for arg in rest:
        if arg != "--trust" and not arg.startswith("--trust="):
            kept.append(arg)
            continue
        value = next(rest, "") if arg == "--trust" else arg.partition("=")[2]
        if arg == "--trust" and not value:
            raise UsageError("--trust needs the name of a package")
        packages = packages or []
        packages += [name for name in value.split(",") if name]
    for name in packages or ():
        if not name.isidentifier() or name in sys.stdlib_module_names or name == "jsonargparse":
            raise UsageError(f"--trust: expected the name of a package that is not Python's own, got {name!r}")
    return kept, packages


def _typed_packages(args: Sequence[str]) -> Iterator[str]:
    """Packages of the names in those options that take code: the network, and everything of the trainer."""
    for index, arg in enumerate(args):
        key, equals, value = arg.partition("=")
        if not re.match(r"--(model\.net|trainer\.|.*class_path\+?$)", key):
            continue
        if not equals:
            value = args[index + 1] if index + 1 < len(args) else ""
        if Path(value).exists():  # a file with settings, whose names are not typed
            continue
        for name in re.findall(_NAME, value):
            package = name.partition(".")[0]
            if package not in sys.stdlib_module_names and package != "jsonargparse":
                yield package
