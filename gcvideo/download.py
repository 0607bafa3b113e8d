"""Downloads that go on where they stopped, and that end as a whole file or not at all."""

import fcntl
import hashlib
import http.client
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
    checked against the one that the server tells, the content against `sha256`. Processes that want the same file wait
    for the first of them.

    Args:
        url: http, https or file.
        path: of the file; its folder is made.
        sha256: hexadecimal digest, or its beginning; "" checks nothing.
        timeout_s: seconds without a byte before giving up.

    Returns:
        `path`.

    Raises:
        DownloadError: no answer, a page in place of a file, an answer that is cut short (the next call goes on), or
            another content (removed).
    """
    target = Path(path)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():  # another process was first
            return target
        try:
            _fetch(url, partial, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            raise DownloadError(f"{url}: {error or type(error).__name__}; the next try goes on from here") from error
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
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
            return  # all of it had arrived
        partial.unlink()  # longer than the file: not of this file
        _fetch(url, partial, timeout_s)
        return
    with response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(f"{url}: the server answers with a page, not with a file")
        begin = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        resumed = response.status == 206 and begin == str(have)
        length = response.headers.get("Content-Length")
        with partial.open("ab" if resumed else "wb") as stream:
            total = stream.tell() + int(length) if length is not None else None
            while chunk := response.read(CHUNK):
                stream.write(chunk)
    size = partial.stat().st_size
    if total is not None and size != total:
        raise DownloadError(f"{url}: cut off at {size} of {total} bytes; the next try goes on")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
