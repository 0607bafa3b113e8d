"""Kinetics from its public mirror (CVDF's): annotations, and archives named by lists.

Which addresses there are is data: mirrors.csv (dataset, split, kind, url), as they stand in the scripts of
cvdfoundation/kinetics-dataset; kinds are 'annotations', 'archive', and 'list': a text file with the address of an
archive in each line. K600's complete annotations are the .txt files there.
"""

import csv
import gzip
import lzma
import os
import shutil
import tarfile
import urllib.parse
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gcvideo.dataset_tools.pool import progress_bar
from gcvideo.download import DownloadError, download

MIRRORS = Path(__file__).with_name("mirrors.csv")
ARCHIVES = (".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 1_000_000
MAX_RATIO, ALLOWANCE = 100, 2**30
"""Of what an archive unpacks to and its size, one GiB aside: videos do not shrink."""


@dataclass(frozen=True, slots=True)
class Address:
    """A row of mirrors.csv."""

    dataset: str
    split: str
    kind: str
    url: str


def read_addresses(path: Path = MIRRORS) -> list[Address]:
    """All rows."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [Address(**row) for row in csv.DictReader(stream)]


def fetch(
    dataset: str,
    out: str | Path,
    splits: Sequence[str] | None = None,
    mirror: str | None = None,
    extract: bool = True,
    keep: bool = True,
    jobs: int = 2,
    progress: bool = True,
) -> list[str]:
    """Download a data set; what is there already is left alone, so the same call goes on after any stop.

    Args:
        dataset: of mirrors.csv, such as "k400".
        out: folder: annotations/, archives/SPLIT/, and SPLIT/ARCHIVE/ with the videos.
        splits: which; all if None.
        mirror: address to take in place of https://s3.amazonaws.com/kinetics, for a mirror of one's own with the same
            layout.
        extract: unpack the archives.
        keep: keep the archives when they are unpacked.
        jobs: downloads at a time.
        progress: show a bar.

    Returns:
        What failed, one text each; nothing if all is there.

    Raises:
        ValueError: no such data set or split; the message has those there are.
    """
    rows = [row for row in read_addresses() if row.dataset == dataset]
    if not rows:
        raise ValueError(f"no data set {dataset!r}; wanted one of {sorted({row.dataset for row in read_addresses()})}")
    known = {row.split for row in rows}
    if splits is not None and not set(splits) <= known:
        raise ValueError(f"no split {sorted(set(splits) - known)} of {dataset}; there are {sorted(known)}")
    rows = [row for row in rows if splits is None or row.split in splits]
    out = Path(out)
    tasks: list[tuple[str, Path]] = []  # (address, file)
    failed = []
    for row in rows:
        folder = out / "annotations" if row.kind == "annotations" else out / "archives" / row.split
        url = _at(row.url, mirror)
        if row.kind != "list":
            tasks.append((url, folder / _name(url)))
            continue
        try:
            listed = download(url, out / "lists" / _name(url)).read_text(encoding="utf-8").split("\n")
        except DownloadError as error:
            failed.append(str(error))
        else:
            tasks += [(_at(line.strip(), mirror), folder / _name(line.strip())) for line in listed if line.strip()]

    def work(task: tuple[str, Path]) -> str:
        url, file = task
        is_archive = file.name.endswith(ARCHIVES) and "annotations" not in file.parts
        place = out / file.parent.name / file.name.split(".")[0]
        try:
            if not (extract and is_archive and place.is_dir()):
                download(url, file)
                if extract and is_archive:
                    unpack(file, place)
            if not keep and place.is_dir():
                file.unlink(missing_ok=True)
        except DamagedError as error:
            file.unlink()
            return f"{url}: {error}; it has been removed, the next try downloads it again"
        except (DownloadError, ArchiveError, OSError) as error:
            return f"{url}: {error}" if url not in str(error) else str(error)
        return ""

    with ThreadPoolExecutor(jobs) as pool, progress_bar("download", len(tasks), progress, unit="file") as bar:
        for failure in pool.map(work, tasks):
            if failure:
                failed.append(failure)
            bar.set_postfix(failures=len(failed), refresh=False)
            bar.update()
    return failed


class ArchiveError(ValueError):
    """An archive that can't be unpacked, or would write outside of its folder."""


class DamagedError(ArchiveError):
    """An archive that is cut short or damaged."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar file into a new folder, which appears when it is complete.

    Plain files and folders only: links, devices, absolute paths and '..' are refused before anything is in place
    (PEP 706's "data" filter and more). gzip's checksum and the end of the archive are checked.

    Raises:
        ArchiveError: damaged, or with a member of that sort.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:*") as tar:
            room = MAX_RATIO * archive.stat().st_size + ALLOWANCE
            for number, member in enumerate(tar):
                room -= member.size
                if room < 0:
                    raise ArchiveError(f"{archive.name}: unpacks to more than {MAX_RATIO} times its size")
                if not (member.isreg() or member.isdir()) or number >= MAX_MEMBERS:
                    raise ArchiveError(f"{archive.name}: member {member.name!r} is no plain file; nothing was unpacked")
                if not Path(member.name).name.startswith("._"):  # what macOS leaves in archives
                    tar.extract(member, partial, filter="data")
            _check_end(tar)
        os.replace(partial, folder)
    except (tarfile.ReadError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise DamagedError(f"{archive.name}: can't be unpacked: {error}") from None
    except ArchiveError:
        raise
    except Exception as error:  # whatever a stranger's headers can cause must not stop the other archives
        raise ArchiveError(f"{archive.name}: can't be unpacked: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_end(tar: tarfile.TarFile) -> None:
    """tarfile takes a cut or a bad header for the end: behind the last member there must be zeros, and all of gzip."""
    stream = tar.fileobj
    assert stream is not None
    ended = stream.tell() > tar.offset  # a block was read, and it was no header
    while rest := stream.read(1 << 20):
        ended = ended and not rest.strip(b"\0")
    if not ended:
        raise EOFError("cut short, or damaged")


def _at(url: str, mirror: str | None) -> str:
    """The address with blanks coded, at another mirror if one is given."""
    base = "https://s3.amazonaws.com/kinetics"
    if mirror is not None and url.startswith(base):
        url = mirror.rstrip("/") + url[len(base) :]
    return urllib.parse.quote(url, safe="/:%()?=&")


def _name(url: str) -> str:
    """File name of an address; it can't lead anywhere."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2]).replace("/", "_")
    if name in ("", ".", "..") or "\0" in name:
        raise ValueError(f"the address {url!r} names no file")
    return name
