"""Requests to untrusted servers: http and https only, also after a redirection, and an answer in time."""

import http.client
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gcvideo.errors import GcvideoError


class DownloadError(GcvideoError):
    """The file is not available, or is not the expected one."""

    exit_status = 2


def check_scheme(url: str) -> None:
    """Refuse addresses of another kind, such as file.

    Raises:
        DownloadError: not http or https.
    """
    if urllib.parse.urlsplit(url).scheme.lower() not in ("http", "https"):
        raise DownloadError(f"{url}: expected an address of http or https")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """urllib would follow to ftp; and https is not given up for http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_scheme(newurl)
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise DownloadError(f"{req.full_url}: redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _InTime:
    """A connection whose time-out is for connecting and for the whole head of the answer, not for each byte of it."""

    sock: Any
    timeout: Any

    def connect(self) -> None:
        with self._limit():
            super().connect()  # type: ignore[misc]

    def getresponse(self) -> Any:
        with self._limit():
            return super().getresponse()  # type: ignore[misc]

    @contextmanager
    def _limit(self) -> Iterator[None]:
        def give_up() -> None:
            with suppress(OSError, AttributeError):  # closed, or not open yet
                self.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


class _Http(_InTime, http.client.HTTPConnection):
    pass


class _Https(_InTime, http.client.HTTPSConnection):
    pass


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_Http, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        return self.do_open(_Https, req, context=self._context)  # type: ignore[attr-defined]


def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https only; `urllib.request.urlopen` would open file and ftp, too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HttpHandler(),
        _HttpsHandler(),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


OPENER = _opener()
