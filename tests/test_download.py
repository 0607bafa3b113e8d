"""Downloads from a real HTTP server on this machine: complete, resumed, cut off, wrong."""

import hashlib
import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import gcvideo.download
from gcvideo.download import DownloadError, download

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; "cut" in the path ends the first answer early, "plain" ignores ranges."""

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        if "redirect" in self.path:
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
            return
        if "drip" in self.path:
            self.drip()
            return
        if "missing" in self.path:
            self.send_error(404)
            return
        start = 0
        if "page" in self.path:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<html>log in</html>")
            return
        if self.headers.get("Range") and "plain" not in self.path:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        first = sum(path == self.path for path, _ in self.server.requests) == 1
        body = CONTENT[start:]
        if "slow" in self.path:
            for begin in range(0, len(body), 100_000):
                self.wfile.write(body[begin : begin + 100_000])
                time.sleep(0.02)
            return
        self.wfile.write(body[: len(body) // 3] if "cut" in self.path and first else body)

    def drip(self):
        """A byte now and then: of the head of the answer, or of its body."""
        head = b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n"
        sent = 0 if "head" in self.path else len(head)
        self.wfile.write(head[:sent])
        for byte in head[sent:] + b"x" * 1000:
            try:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.requests = []
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        yield httpd
        httpd.shutdown()


def test_whole_file_once(server, tmp_path):
    target = tmp_path / "new folder" / "file.bin"
    assert download(f"{server.url}/file", target, SHA256[:8]) == target
    assert target.read_bytes() == CONTENT
    download(f"{server.url}/file", target, SHA256)
    assert len(server.requests) == 1
    assert [file.name for file in target.parent.iterdir() if file.suffix != ".lock"] == ["file.bin"]


@pytest.mark.parametrize("path", ("cut", "cut-plain"))
def test_resumes_where_it_was_cut_off(server, tmp_path, path):
    target = tmp_path / "file.bin"
    with pytest.raises(DownloadError, match=rf"cut off at {len(CONTENT) // 3} of {len(CONTENT)} bytes"):
        download(f"{server.url}/{path}", target)
    assert not target.exists()
    download(f"{server.url}/{path}", target, SHA256)
    assert target.read_bytes() == CONTENT
    assert server.requests[1][1] == f"bytes={len(CONTENT) // 3}-"


def test_stopped_between_the_last_byte_and_the_end(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert download(f"{server.url}/file", tmp_path / "file.bin", SHA256).read_bytes() == CONTENT


def test_another_content_is_removed(server, tmp_path):
    with pytest.raises(DownloadError, match=rf"SHA-256 is {SHA256}, expected 0badcafe\.\.\."):
        download(f"{server.url}/file", tmp_path / "file.bin", "0badcafe")
    assert not list(tmp_path.glob("file.bin*"))


def test_a_part_of_another_file_is_discarded(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT * 2)
    assert download(f"{server.url}/file", tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_page_is_not_a_file(server, tmp_path):
    with pytest.raises(DownloadError, match="answers with a page, not with a file"):
        download(f"{server.url}/page", tmp_path / "file.bin")
    assert not list(tmp_path.glob("file.bin*"))


def test_two_at_once_fetch_it_once(server, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: download(f"{server.url}/slow", tmp_path / "file.bin", SHA256), range(2)))
    assert paths[0].read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_no_answer(server, tmp_path):
    with pytest.raises(DownloadError, match="404"):
        download(f"{server.url}/missing", tmp_path / "file.bin")
    with pytest.raises(DownloadError, match="http://127.0.0.1:9/x"):
        download("http://127.0.0.1:9/x", tmp_path / "file.bin", timeout_s=5)


@pytest.mark.parametrize("part", ("head", "body"))
def test_a_dripping_server_is_given_up(server, tmp_path, part):
    """Every byte is in time, the file never."""
    begin = time.monotonic()
    with pytest.raises(DownloadError, match="the next try resumes"):
        download(f"{server.url}/drip-{part}", tmp_path / "file.bin", timeout_s=0.5)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("scheme", ("file", "ftp", "data", "FILE", "gopher", ""))
def test_only_http_is_fetched(server, tmp_path, scheme):
    (tmp_path / "secret").write_text("secret")
    url = f"{scheme}:{tmp_path}/secret" if scheme else f"{tmp_path}/secret"
    with pytest.raises(DownloadError, match="expected an address of http or https"):
        download(url, tmp_path / "file.bin")
    if not scheme:  # another path of the same server
        return
    with pytest.raises(DownloadError, match=r"expected an address of http|302|Moved|Found"):
        download(f"{server.url}/redirect?{url}", tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()


def test_a_redirection_is_followed(server, tmp_path):
    assert download(f"{server.url}/redirect?{server.url}/file", tmp_path / "a").read_bytes() == CONTENT


def test_a_link_at_the_part_is_not_followed(server, tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "file.bin.part").symlink_to(tmp_path / "victim")
    with pytest.raises(DownloadError, match="symbolic links"):
        download(f"{server.url}/plain", tmp_path / "file.bin")
    assert (tmp_path / "victim").read_text() == "mine"


def test_nothing_else_opens_addresses():
    """urllib.request.urlopen opens files, too; the shards of a data set have an address that the user has typed."""
    package = Path(gcvideo.download.__file__).parent
    users = {str(path.relative_to(package)) for path in package.rglob("*.py") if "urlopen(" in path.read_text()}
    assert users == {"data/shards/reading.py"}
