"""Unpacking of untrusted tar archives: completely or not at all, and only into their own folder."""

import gzip
import lzma
import tarfile
import zlib
from pathlib import Path

from gcvideo.errors import GcvideoError
from gcvideo.files import creating_folder

SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 1_000_000
MAX_RATIO = 100
"""How many times its own size an archive may unpack to, plus `ALLOWANCE` bytes: videos can't be compressed further."""
ALLOWANCE = 2**30


class ArchiveError(GcvideoError):
    """An archive that can't be unpacked, or would write outside of its folder."""


class DamagedError(ArchiveError):
    """An archive that is cut short or damaged: to download it again may help."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar file, compressed or not, into a new folder, which appears when it is complete.

    Only plain files and folders are accepted: links, devices, absolute paths and '..' are refused before anything is in
    place (the "data" filter of PEP 706, and more). gzip's checksum and the end of the archive are checked.

    Raises:
        ArchiveError: damaged (`DamagedError`), or with a member of that kind.
    """
    try:
        with creating_folder(folder) as partial, tarfile.open(archive, "r:*") as tar:
            _extract(tar, archive, partial)
            _check_end(tar)
    except (tarfile.ReadError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise DamagedError(f"{archive.name}: can't be unpacked: {error}") from None
    except ArchiveError:
        raise
    except Exception as error:  # untrusted headers can cause any error; it must not stop the other archives
        raise ArchiveError(f"{archive.name}: can't be unpacked: {error}") from None


def _extract(tar: tarfile.TarFile, archive: Path, folder: Path) -> None:
    left = MAX_RATIO * archive.stat().st_size + ALLOWANCE  # bytes
    for number, member in enumerate(tar):
        left -= member.size  # as its header says, before a byte of it is written
        if left < 0:
            raise ArchiveError(f"{archive.name}: unpacks to more than {MAX_RATIO} times its size")
        if number >= MAX_MEMBERS:
            raise ArchiveError(f"{archive.name}: more than {MAX_MEMBERS} members; nothing was unpacked")
        if not (member.isreg() or member.isdir()):
            raise ArchiveError(f"{archive.name}: member {member.name!r} is not a plain file; nothing was unpacked")
        if not Path(member.name).name.startswith("._"):  # what macOS leaves in archives
            tar.extract(member, folder, filter="data")


def _check_end(tar: tarfile.TarFile) -> None:
    """Refuse an archive that was cut between two members.

    tarfile takes a cut, or a damaged header, for the end. After the last member there must be a block that is no
    header, and only zeros. Reading to the end also makes gzip verify its checksum.

        | header | data | header | data | 000 | 000 | ...
                                        ^ tar.offset
    """
    stream = tar.fileobj
    assert stream is not None
    ended = stream.tell() > tar.offset
    while rest := stream.read(1 << 20):
        ended = ended and not rest.strip(b"\0")
    if not ended:
        raise EOFError("cut short, or damaged")
