"""Kinetics from its public mirror (CVDF): annotations, and archives named by lists.

The addresses are data: mirrors.csv (dataset, split, kind, url), from the scripts of cvdfoundation/kinetics-dataset.
Kinds are 'annotations', 'archive', and 'list': a text file with the address of an archive in each line. The complete
annotations of K600 are the .txt files there.
"""

import csv
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gcvideo.dataset_tools.archives import SUFFIXES, ArchiveError, DamagedError, unpack
from gcvideo.dataset_tools.pool import progress_bar
from gcvideo.download import DownloadError, download
from gcvideo.errors import UsageError

MIRRORS = Path(__file__).with_name("mirrors.csv")
KINETICS = "https://s3.amazonaws.com/kinetics"
"""The part of an address that another mirror replaces."""


@dataclass(frozen=True, slots=True)
class Address:
    """A row of mirrors.csv."""

    dataset: str
    split: str
    kind: str
    url: str

    def __post_init__(self) -> None:
        if self.kind not in ("annotations", "archive", "list"):
            raise ValueError(f"expected kind annotations, archive or list, got {self.kind!r}")


@dataclass(frozen=True)
class FetchOptions:
    """How a data set is downloaded.

    Args:
        mirror: URL of another mirror of the same layout, in place of `KINETICS`.
        extract: unpack the archives.
        keep: keep the archives after they are unpacked.
        jobs: number of concurrent downloads.
        progress: show a bar.
    """

    mirror: str | None = None
    extract: bool = True
    keep: bool = True
    jobs: int = 2
    progress: bool = True


@dataclass(frozen=True, slots=True)
class _File:
    """A file to download.

    Attributes:
        url: its address.
        path: where it is stored.
        unpacked: folder of its contents; None if it is not an archive of videos.
    """

    url: str
    path: Path
    unpacked: Path | None


def read_addresses(path: Path = MIRRORS) -> list[Address]:
    """All rows."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [Address(**row) for row in csv.DictReader(stream)]


def fetch(
    dataset: str, out: str | Path, splits: Sequence[str] | None = None, options: FetchOptions | None = None
) -> list[str]:
    """Download a data set; files that exist are kept, so the same call resumes after any interruption.

    Args:
        dataset: of mirrors.csv, such as "k400".
        out: folder to write into: annotations/, archives/SPLIT/, and SPLIT/ARCHIVE/ with the videos.
        splits: which splits; None for all.
        options: how.

    Returns:
        What failed, one message each; empty if everything is complete.

    Raises:
        UsageError: no such data set or split.
    """
    options = options or FetchOptions()
    failures: list[str] = []
    files: list[_File] = []
    for address in _select(dataset, splits):
        try:
            files += _files_of(address, Path(out), options.mirror)
        except DownloadError as error:
            # One list that is not available does not stop the other rows.
            failures.append(str(error))
    work = partial(_fetch_file, options=options)
    with (
        ThreadPoolExecutor(options.jobs) as pool,
        progress_bar("download", len(files), options.progress, unit="file") as bar,
    ):
        for failure in pool.map(work, files):
            if failure is not None:
                failures.append(failure)
            bar.set_postfix(failures=len(failures), refresh=False)
            bar.update()
    return failures


def _select(dataset: str, splits: Sequence[str] | None) -> list[Address]:
    addresses = read_addresses()
    datasets = sorted({address.dataset for address in addresses})
    if dataset not in datasets:
        raise UsageError(f"no data set {dataset!r}; expected one of {datasets}")
    addresses = [address for address in addresses if address.dataset == dataset]
    known = {address.split for address in addresses}
    unknown = sorted(set(splits or ()) - known)
    if unknown:
        raise UsageError(f"no split {unknown} of {dataset}; expected some of {sorted(known)}")
    return [address for address in addresses if splits is None or address.split in splits]


def _files_of(address: Address, out: Path, mirror: str | None) -> Iterator[_File]:
    """The files of one row: itself, or all that its list names.

    Raises:
        DownloadError: the list can't be downloaded.
    """
    url = _resolve(address.url, mirror)
    if address.kind == "annotations":
        yield _File(url, out / "annotations" / _file_name(url), None)
    elif address.kind == "archive":
        yield _archive(url, out, address.split)
    else:
        text = download(url, out / "lists" / _file_name(url)).read_text(encoding="utf-8")
        for line in text.split("\n"):
            if line.strip():
                yield _archive(_resolve(line.strip(), mirror), out, address.split)


def _archive(url: str, out: Path, split: str) -> _File:
    name = _file_name(url)
    is_archive = name.endswith(SUFFIXES)
    return _File(url, out / "archives" / split / name, out / split / name.split(".")[0] if is_archive else None)


def _fetch_file(file: _File, options: FetchOptions) -> str | None:
    """Download one file, and unpack it if it is an archive; returns why it failed, or None."""
    unpacked = file.unpacked if options.extract else None
    try:
        if unpacked is None:
            download(file.url, file.path)
        elif not unpacked.is_dir():  # the folder exists only if it is complete
            download(file.url, file.path)
            unpack(file.path, unpacked)
        if not options.keep and file.unpacked is not None and file.unpacked.is_dir():
            file.path.unlink(missing_ok=True)
    except DamagedError as error:
        # `download` keeps a file that exists, so a damaged one would fail in every later call, too.
        file.path.unlink()
        return f"{file.url}: {error}; it has been removed, the next try downloads it again"
    except (DownloadError, ArchiveError, OSError) as error:
        return str(error) if file.url in str(error) else f"{file.url}: {error}"
    return None


def _resolve(url: str, mirror: str | None) -> str:
    """The address at `mirror`, with special characters quoted (an archive is named "part 1.tar.gz")."""
    if mirror is not None and url.startswith(KINETICS):
        url = mirror.rstrip("/") + url.removeprefix(KINETICS)
    return urllib.parse.quote(url, safe="/:%()?=&")  # "%" is safe: addresses may be quoted already


def _file_name(url: str) -> str:
    """The last part of an address, as a file name that can't lead to another folder."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2]).replace("/", "_")
    if name in ("", ".", "..") or "\0" in name:
        raise DownloadError(f"the address {url!r} names no file")
    return name
