"""Kinetics' mirror, served in its layout by a server on this machine."""

import functools
import gzip
import http.server
import io
import tarfile
import threading

import pytest

from gcvideo.cli.main import main
from gcvideo.dataset_tools.archives import ArchiveError, unpack
from gcvideo.dataset_tools.mirror import FetchOptions, fetch, read_addresses
from gcvideo.dataset_tools.plan import make_plan
from gcvideo.errors import UsageError


def tar(path, members, mode="w:gz"):
    """Write an archive of (name or TarInfo, contents)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, contents in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(contents)
            archive.addfile(info, io.BytesIO(contents))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    root = tmp_path / "served"
    original = "https://s3.amazonaws.com/kinetics"
    tar(root / "400/val/part_0.tar.gz", [("./abcdefghij0_000001_000011.mp4", b"zero"), ("./._x_000001.mp4", b"junk")])
    tar(root / "400/val/part 1.tar.gz", [("home/user/abcdefghij1_000001_000011.mp4", b"one")])
    tar(
        root / "400/replacement_for_corrupted_k400.tgz",
        [("replacement_for_corrupted_k400/abcdefghij0_000001_000011.mp4", b"new")],
    )
    (root / "400/val/k400_val_path.txt").write_text(
        f"{original}/400/val/part_0.tar.gz\n{original}/400/val/part 1.tar.gz\n"
    )
    (root / "400/annotations").mkdir()
    (root / "400/annotations/val.csv").write_text(
        "label,youtube_id,time_start,time_end,split,is_cc\nrun,abcdefghij0,1,11,val,0\nrun,abcdefghij1,1,11,val,0\n"
    )
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.asked, httpd.root = [], root
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd
        httpd.shutdown()


def test_download_unpack_and_match(server, tmp_path, capsys):
    out = tmp_path / "raw"
    arguments = ["download", "k400", str(out), "--splits", "val", "replacement", "--mirror", server.url]
    assert main(arguments) == 0
    assert f"{out}: complete" in capsys.readouterr().out
    assert (out / "val/part_0/abcdefghij0_000001_000011.mp4").read_bytes() == b"zero"
    assert (out / "val/part 1/home/user/abcdefghij1_000001_000011.mp4").read_bytes() == b"one"
    assert not list(out.rglob("._*"))
    plan = make_plan(out, [out / "annotations" / "val.csv"])
    assert [job.source for job in plan.jobs] == [
        "replacement/replacement_for_corrupted_k400/replacement_for_corrupted_k400/abcdefghij0_000001_000011.mp4",
        "val/part 1/home/user/abcdefghij1_000001_000011.mp4",
    ]
    server.asked.clear()
    assert main([*arguments, "--remove"]) == 0
    assert server.asked == []  # all was there
    assert not list((out / "archives").rglob("*.tar.gz"))
    assert main(arguments) == 0
    assert server.asked == []  # and still is, unpacked


def test_a_failed_archive_is_reported_and_retried(server, tmp_path):
    out = tmp_path / "raw"
    archive = server.root / "400/val/part_0.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-20])
    failed = fetch("k400", out, ["val"], FetchOptions(server.url, progress=False))
    assert len(failed) == 1
    assert "part_0.tar.gz: can't be unpacked" in failed[0]
    assert not (out / "val/part_0").exists()
    assert (out / "val/part 1").is_dir()
    archive.write_bytes(whole)
    assert fetch("k400", out, ["val"], FetchOptions(server.url, progress=False)) == []
    (server.root / "400/annotations/val.csv").unlink()
    (out / "annotations/val.csv").unlink()
    assert "404" in fetch("k400", out, ["val"], FetchOptions(server.url, progress=False))[0]


def test_command_leaves_archives_packed(server, tmp_path):
    arguments = ["download", "k400", str(tmp_path / "raw"), "--splits", "val", "--mirror", server.url]
    assert main([*arguments, "--no_extract", "--jobs", "1"]) == 0
    assert (tmp_path / "raw/archives/val/part_0.tar.gz").is_file()
    assert not (tmp_path / "raw/val").exists()
    with pytest.raises(SystemExit):
        main([*arguments, "--jobs", "0"])
    assert main(["download", "k400", str(tmp_path / "raw"), "--splits", "x"]) == 2


def test_a_list_with_a_bad_line_fails_alone(server, tmp_path):
    with (server.root / "400/val/k400_val_path.txt").open("a") as stream:
        stream.write(f"{server.url}/\n")
    failed = fetch("k400", tmp_path / "raw", ["val"], FetchOptions(server.url, progress=False))
    assert failed == [f"the address '{server.url}/' names no file"]
    assert (tmp_path / "raw/val/part_0").is_dir()


def test_archives_can_stay_packed(server, tmp_path):
    assert fetch("k400", tmp_path / "raw", ["val"], FetchOptions(server.url, extract=False, progress=False)) == []
    assert sorted(path.name for path in (tmp_path / "raw/archives/val").glob("*.gz")) == [
        "part 1.tar.gz",
        "part_0.tar.gz",
    ]
    assert not (tmp_path / "raw/val").exists()


@pytest.mark.parametrize("compressed", (False, True))
@pytest.mark.parametrize("harm", ("none", "cut in a file", "cut between files", "bad header"))
def test_damaged_archives(tmp_path, compressed, harm):
    plain = tmp_path / "a.tar"
    tar(plain, [("1.mp4", b"1" * 512), ("2.mp4", b"2" * 512), ("3.mp4", b"3" * 512)], "w")
    data = bytearray(plain.read_bytes())
    if harm == "cut in a file":
        data = data[:800]
    elif harm == "cut between files":
        data = data[:2048]
    elif harm == "bad header":
        data[2 * 1024 + 20] ^= 255
    archive = tmp_path / "b.tar.gz"
    archive.write_bytes(gzip.compress(data) if compressed else data)  # one of CVDF's is plain under this name
    if harm == "none":
        unpack(archive, tmp_path / "out" / "x")
        assert sorted(path.name for path in (tmp_path / "out" / "x").iterdir()) == ["1.mp4", "2.mp4", "3.mp4"]
        return
    with pytest.raises(ArchiveError, match="can't be unpacked"):
        unpack(archive, tmp_path / "out" / "x")
    assert not (tmp_path / "out" / "x").exists()


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    (
        "../escaped.mp4",
        "a/../../escaped.mp4",
        "/tmp/escaped-absolute.mp4",
        link("l", "/etc/passwd", tarfile.SYMTYPE),
        link("l", "../../secret", tarfile.SYMTYPE),
        link("l", "good.mp4", tarfile.LNKTYPE),
        link("l", "", tarfile.FIFOTYPE),
        link("l", "", tarfile.CHRTYPE),
    ),
    ids=lambda member: getattr(member, "name", member) + str(getattr(member, "type", "")),
)
def test_hostile_archives_write_nothing(tmp_path, member):
    archive = tmp_path / "in" / "hostile.tar.gz"
    tar(archive, [("good.mp4", b"good"), (member, b"")])
    if member == "/tmp/escaped-absolute.mp4":
        unpack(archive, tmp_path / "out" / "x")  # the leading / is dropped: the file lies inside
        assert (tmp_path / "out/x/tmp/escaped-absolute.mp4").is_file()
        return
    with pytest.raises(ArchiveError, match=r"hostile.tar.gz: "):
        unpack(archive, tmp_path / "out" / "x")
    assert not (tmp_path / "out" / "x").exists()
    assert not list(tmp_path.rglob("escaped*"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gcvideo.dataset_tools.archives.ALLOWANCE", 1000)
    tar(tmp_path / "bomb.tar.gz", [("zeros.mp4", bytes(10_000_000))])
    with pytest.raises(ArchiveError, match="unpacks to more than 100 times its size"):
        unpack(tmp_path / "bomb.tar.gz", tmp_path / "out" / "x")
    assert list((tmp_path / "out").iterdir()) == []


def test_addresses():
    rows = read_addresses()
    assert {row.dataset for row in rows} == {"k400", "k600", "k700", "k700_2020"}
    assert {row.kind for row in rows} == {"list", "annotations", "archive"}
    assert all(row.url.startswith("https://") for row in rows)
    with pytest.raises(UsageError, match="no data set 'k500'; expected one of"):
        fetch("k500", "x")
    with pytest.raises(UsageError, match=r"no split \['x'\] of k400; expected some of"):
        fetch("k400", "x", ["x"])
    assert main(["download", "k500", "x"]) == 2
