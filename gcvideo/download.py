"""Downloads that resume after an interruption, and that end with a complete file or none.

Servers are untrusted, and addresses come from lists that servers send: only http and https are fetched, also after a
redirection, and a server that sends a byte now and then does not hold the download for ever.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from filelock import FileLock

from gcvideo.files import open_no_link, publish
from gcvideo.web import OPENER, DownloadError, check_scheme

CHUNK = 1 << 20
MIN_BYTES_PER_S = 1000
"""A server that is slower, over `timeout_s`, is given up."""


def download(url: str, path: str | Path, sha256: str = "", timeout_s: float = 60) -> Path:
    """Fetch `url` to `path`; a file that exists is kept.

    What has arrived is kept in `<path>.part`, and the next call requests only the rest. The length is checked against
    the one that the server announces, the content against `sha256`. Processes that need the same file wait for the
    first of them.

    Args:
        url: http or https.
        path: of the file; its folder is created.
        sha256: hexadecimal digest, or its beginning; "" checks nothing.
        timeout_s: time for an answer, and for at least `MIN_BYTES_PER_S` on average, after which to give up.

    Returns:
        `path`.

    Raises:
        DownloadError: another kind of address, no answer, a slow one, an HTML page instead of a file, an incomplete
            answer (the next call resumes), or another content (removed).
    """
    target = Path(path)
    if target.exists():
        return target
    check_scheme(url)
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
        digest = sha256_of(partial)
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
        response = OPENER.open(request, timeout=timeout_s)
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
        _receive(response, url, partial, received, timeout_s)


def _receive(response: Any, url: str, partial: Path, received: int, timeout_s: float) -> None:
    if response.headers.get_content_type() == "text/html":  # such as an error page with status 200
        raise DownloadError(f"{url}: the server answers with a page, not with a file")
    # A server may ignore the range and send the whole file: only an answer that begins where we are is appended.
    first_byte = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    resumed = response.status == http.client.PARTIAL_CONTENT and first_byte == str(received)
    length = response.headers.get("Content-Length")
    with open_no_link(partial, "ab" if resumed else "wb") as stream:
        # Only digits: the server wrote the text.
        expected = stream.tell() + int(length) if length is not None and length.isdecimal() else None
        began, arrived = time.monotonic(), 0
        while chunk := response.read1(CHUNK):  # read() would wait until all of CHUNK is there, a byte at a time
            stream.write(chunk)
            arrived += len(chunk)
            seconds = time.monotonic() - began
            if seconds > timeout_s:
                if arrived < MIN_BYTES_PER_S * seconds:
                    raise DownloadError(f"{url}: {arrived} bytes in {seconds:.0f} s; the next try resumes")
                began, arrived = time.monotonic(), 0
    size = partial.stat().st_size
    if expected is not None and size != expected:
        raise DownloadError(f"{url}: cut off at {size} of {expected} bytes; the next try resumes")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
