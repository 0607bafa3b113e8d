"""Configuration files, checked before jsonargparse reads them, so that errors name file and line."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from gcvideo.errors import UsageError
from gcvideo.yaml_keys import doubled_key
from gcvideo.yaml_text import LOADER, check_yaml

MAX_BYTES = 1 << 20
SUFFIXES = (".yaml", ".yml", ".json")


def check_config_files(args: Sequence[str]) -> None:
    """Check every configuration file that the arguments name.

    Raises:
        UsageError: one that can't be read, is empty, is not YAML, does not map names to values, or has a key twice.
    """
    for path, is_config in _named_files(args):
        # os.path, because Path's methods raise for a name that is too long.
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder, expected a configuration file")
        if os.path.isfile(path):  # a pipe can be read only once
            _check(path)
        elif is_config and not os.path.exists(path):
            raise UsageError(f"no configuration file {str(path)[:300]!r}")


def _named_files(args: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """Values that are or look like configuration files, and whether the option is --config.

    A group of settings may be a file, too: `--model.optim adamw.yaml`.
    """
    for index, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if not option.startswith("-"):
            continue
        if not equals:
            value = args[index + 1] if index + 1 < len(args) else ""
        is_config = option in ("-c", "--config")
        if (is_config and value and not value.lstrip().startswith("{")) or value.endswith(SUFFIXES):
            yield Path(value), is_config


def _check(path: Path) -> None:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: expected a configuration of at most {MAX_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8")
        check_yaml(text)  # first, because of its limits
        doubled = doubled_key(text)
        root = yaml.compose(text, Loader=LOADER)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file in UTF-8 ({error.reason})") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if doubled:
        raise UsageError(f"{path}:{doubled.line}: {doubled}")
    if root is None:
        raise UsageError(f"{path}: the file is empty, expected settings such as 'name: mine'")
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "one value"
        raise UsageError(f"{path}: expected settings such as 'name: mine', got {kind}")
