"""Downloads that go on where they stopped, and that end as a whole file or not at all."""

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

CHUNK = 1 << 20


class DownloadError(RuntimeError):
    """The file could not be had, or is not the one that was expected."""


def download(url: str, path: str | Path, sha256: str = "", timeout_s: float = 60) -> Path:
    """Fetch `url` to `path`; a file that is there already is left alone.

    What has arrived so far is kept in `<path>.part`: the next call asks the server for the rest alone. The length is
    checked against the one that the server tells, the content against `sha256`.

    Args:
        url: http, https or file.
        path: of the file; its folder is made.
        sha256: hexadecimal digest, or its beginning; "" checks nothing.
        timeout_s: seconds without a byte before giving up.

    Returns:
        `path`.

    Raises:
        DownloadError: no answer, an answer that is cut short (the next call goes on), or another content (removed).
    """
    target = Path(path)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    try:
        _fetch(url, partial, timeout_s)
    except (OSError, urllib.error.URLError) as error:
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(f"{url}: {error}; what has arrived is kept, the next try goes on") from error
    digest = _digest(partial)
    if not digest.startswith(sha256.lower()):
        partial.unlink()
        raise DownloadError(f"{url}: SHA-256 is {digest}, wanted {sha256}...; the file has been removed")
    os.replace(partial, target)
    return target


def _fetch(url: str, partial: Path, timeout_s: float) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        total = error.headers.get("Content-Range", "").rpartition("/")[2]
        if error.code == 416 and total == str(have):
            return  # all of it had arrived
        raise
    with response, partial.open("ab" if response.status == 206 else "wb") as stream:
        have = stream.tell()
        length = response.headers.get("Content-Length")
        arrived = 0
        while chunk := response.read(CHUNK):
            stream.write(chunk)
            arrived += len(chunk)
    if length is not None and arrived != int(length):
        raise DownloadError(f"{url}: cut off at {have + arrived} of {have + int(length)} bytes; the next try goes on")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
