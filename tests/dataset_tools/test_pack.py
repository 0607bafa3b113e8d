"""Shards have equal bytes for equal sets, and the library webdataset reads them."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from gcvideo.dataset_tools.pack import pack
from gcvideo.errors import UsageError


@pytest.fixture
def prepared(tmp_path):
    """A set of nine files in two splits; packing does not look into them."""
    rows = ["path,label,split,num_frames"]
    for number in range(9):
        split, name = ("train", "val")[number > 5], f"a.b {number}.{('mp4', 'webm')[number % 2]}"
        (tmp_path / split).mkdir(exist_ok=True)
        (tmp_path / split / name).write_bytes(bytes([number]) * (100 + number))
        rows.append(f"{split}/{name},x,{split},{number}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def shards_of(out):
    return {path.name: path.read_bytes() for path in sorted((out / "shards").iterdir())}


def contents_by_shard(out):
    """Shard -> (member name, content) in the order of the manifest."""
    expected = {}
    lines = (out / "shards" / "manifest.csv").read_text().splitlines()
    assert lines[0] == "path,label,split,num_frames,shard"
    for line in lines[1:]:
        path, *_, shard = line.split(",")
        members = expected.setdefault(shard, [])
        members.append((f"{len(members):09d}{Path(path).suffix}", (out / path).read_bytes()))
    return expected


def test_members_and_equal_bytes(prepared):
    assert pack(prepared, 0.0003, progress=False) == prepared / "shards" / "manifest.csv"
    before = shards_of(prepared)
    assert list(before) == ["manifest.csv", "train-000000.tar", "train-000001.tar", "val-000000.tar"]
    for shard, members in contents_by_shard(prepared).items():
        with tarfile.open(prepared / "shards" / shard) as tar:
            assert [(member.name, tar.extractfile(member).read()) for member in tar] == members
            assert all((member.mtime, member.uid, member.uname, member.mode) == (0, 0, "", 0o644) for member in tar)
    for path in (prepared / "shards").iterdir():
        path.unlink()
    for path in prepared.glob("*/*"):
        os.utime(path, (0, 0))
    pack(prepared, 0.0003, progress=False)
    assert shards_of(prepared) == before


def test_webdataset_reads_them(prepared):
    tariterators = pytest.importorskip("webdataset.tariterators")
    pack(prepared, 0.0003, progress=False)
    for shard, members in contents_by_shard(prepared).items():
        with (prepared / "shards" / shard).open("rb") as stream:
            source = [{"url": shard, "stream": stream}]
            samples = list(tariterators.group_by_keys(tariterators.tar_file_expander(source)))
        read = [(sample["__key__"], key, sample[key]) for sample in samples for key in sample if key[0] != "_"]
        assert read == [(*name.split("."), content) for name, content in members]


def test_the_bytes_are_those_of_webdataset(prepared):
    """So that shards that webdataset wrote for earlier versions are continued."""
    webdataset = pytest.importorskip("webdataset")
    pack(prepared, 0.0003, progress=False)
    for shard, members in contents_by_shard(prepared).items():
        stream = io.BytesIO()
        with webdataset.TarWriter(stream, encoder=False, mtime=0, mode=0o644, user="", group="", compress=False) as tar:
            for name, content in members:
                key, suffix = name.split(".")
                tar.write({"__key__": key, suffix: content})
        assert (prepared / "shards" / shard).read_bytes() == stream.getvalue()


def test_an_interrupted_call_resumes(prepared):
    pack(prepared, 0.0003, progress=False)
    shards, before = prepared / "shards", shards_of(prepared)
    (shards / "manifest.csv").rename(shards / "plan.csv")
    (shards / "train-000001.tar").unlink()
    kept = (shards / "train-000000.tar").stat().st_mtime_ns
    pack(prepared, 0.0003, progress=False)
    assert shards_of(prepared) == before
    assert (shards / "train-000000.tar").stat().st_mtime_ns == kept


def test_what_can_not_be_packed(prepared, tmp_path):
    with pytest.raises(UsageError, match="has no manifest.csv: prepare it first"):
        pack(tmp_path / "elsewhere", 1, progress=False)
    pack(prepared, 0.0003, progress=False)
    with pytest.raises(UsageError, match="has shards of another set or size: remove it"):
        pack(prepared, 1, progress=False)
    manifest = prepared / "manifest.csv"
    rows = manifest.read_text()
    manifest.write_text(rows.replace(",train,", ",../up,"))
    with pytest.raises(UsageError, match=r"can't be packed: expected splits of letters, .* got '../up'"):
        pack(prepared, 0.0003, progress=False)
    manifest.write_text(rows)
    next((prepared / "val").iterdir()).unlink()
    with pytest.raises(UsageError, match="can't be packed: .*No such file"):
        pack(prepared, 0.0003, progress=False)
