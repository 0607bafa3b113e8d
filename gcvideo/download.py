"""Downloads that resume after an interruption, and that end with a complete file or none."""

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from filelock import FileLock

from gcvideo.errors import GcvideoError
from gcvideo.files import publish

CHUNK = 1 << 20


class DownloadError(GcvideoError):
    """The file is not available, or is not the expected one."""

    exit_status = 2


def download(url: str, path: str | Path, sha256: str = "", timeout_s: float = 60) -> Path:
    """Fetch `url` to `path`; a file that exists is kept.

    What has arrived is kept in `<path>.part`, and the next call requests only the rest. The length is checked against
    the one that the server announces, the content against `sha256`. Processes that need the same file wait for the
    first of them.

    Args:
        url: http, https or file.
        path: of the file; its folder is created.
        sha256: hexadecimal digest, or its beginning; "" checks nothing.
        timeout_s: time without a byte after which to give up.

    Returns:
        `path`.

    Raises:
        DownloadError: no answer, an HTML page instead of a file, an incomplete answer (the next call resumes), or
            another content (removed).
    """
    target = Path(path)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    # The system releases the lock when its process dies, so a killed download never blocks the next.
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.exists():  # another process was first
            return target
        try:
            _fetch(url, partial, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            raise DownloadError(f"{url}: {error or type(error).__name__}; the next try resumes") from error
        digest = _digest(partial)
        if not digest.startswith(sha256.lower()):
            partial.unlink()
            raise DownloadError(f"{url}: SHA-256 is {digest}, expected {sha256}...; the file has been removed")
        publish(partial, target)
    return target


def _fetch(url: str, partial: Path, timeout_s: float) -> None:
    """Append to `partial` what is missing of `url`."""
    received = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={received}-"} if received else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        length = error.headers.get("Content-Range", "").rpartition("/")[2]  # of "bytes */1280000"
        if length == str(received):
            return  # the process was stopped after the last byte
        partial.unlink()  # longer than the file, so it is not a part of it
        _fetch(url, partial, timeout_s)
        return
    with response:
        _receive(response, url, partial, received)


def _receive(response: Any, url: str, partial: Path, received: int) -> None:
    if response.headers.get_content_type() == "text/html":  # such as an error page with status 200
        raise DownloadError(f"{url}: the server answers with a page, not with a file")
    # A server may ignore the range and send the whole file: only an answer that begins where we are is appended.
    first_byte = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    resumed = response.status == http.client.PARTIAL_CONTENT and first_byte == str(received)
    length = response.headers.get("Content-Length")
    with partial.open("ab" if resumed else "wb") as stream:
        expected = stream.tell() + int(length) if length is not None else None
        while chunk := response.read(CHUNK):
            stream.write(chunk)
    size = partial.stat().st_size
    if expected is not None and size != expected:
        raise DownloadError(f"{url}: cut off at {size} of {expected} bytes; the next try resumes")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
