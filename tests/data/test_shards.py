"""Items from shards equal items from files; an epoch has every video once, over all ranks and workers."""

import functools
import http.server
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from gcvideo.cli.main import main
from gcvideo.data.datamodule import Splits, VideoDataModule
from gcvideo.data.dataset import BrokenVideoError, EvalDataset, TrainDataset
from gcvideo.data.listing import ManifestError
from gcvideo.data.loader import WatchedLoader
from gcvideo.data.manifest import read_manifest
from gcvideo.data.position import Position
from gcvideo.data.samplers import Share
from gcvideo.data.sampling import Clip
from gcvideo.data.shards.reading import ShardError, read_run
from gcvideo.data.shards.streams import EvalStream, TrainStream, training_run
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.data.videos import Videos
from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.pack import pack
from gcvideo.errors import UsageError
from tests.conftest import numbered_frames

CLIP = Clip(frames=4, stride=2)
AUGMENT = Augmentation(32, (32, 40))
VIEWS = Views(2, 3, 32, 40)


def train_set(videos, max_broken=0.5):
    return TrainDataset(videos, CLIP, AUGMENT, 3, max_broken, "pyav")


def as_files(packed, videos):
    """The same rows, each a file."""
    return Videos(str(packed), [video.name for video in videos], videos.labels.tolist())


def eval_set(videos):
    return EvalDataset(videos, CLIP, VIEWS, False, "pyav")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Folder of 23 training and 7 validation videos, as files and as shards."""
    out = tmp_path_factory.mktemp("set")
    rows = ["path,label,split,num_frames"]
    for number in range(30):
        split, label = "train" if number < 23 else "val", "ab"[number % 2]
        name = f"{split}/{label}/a.b {number}.mp4"
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(out / name, numbered_frames(20 + number, 48, 64))
        rows.append(f"{name},{label},{split},{20 + number}")
    (out / "manifest.csv").write_text("\n".join(rows) + "\n")
    pack(out, 0.01, progress=False)
    return out


def test_what_is_packed(packed, tmp_path):
    shards = sorted(path.name for path in (packed / "shards").iterdir())
    assert len(shards) > 6
    assert "manifest.csv" in shards
    videos = read_manifest(packed / "shards" / "manifest.csv", "train")
    files = read_manifest(packed / "manifest.csv", "train")
    assert len(videos) == 23
    assert [shard.first for shard in videos.shards] == [
        sum(s.num_videos for s in videos.shards[:n]) for n in range(len(videos.shards))
    ]
    assert sorted(video.name for video in videos) == sorted(video.name for video in files)
    assert [video.name for video in videos] != [video.name for video in files]  # mixed
    by_name = {video.name: video for video in files}
    run = list(read_run(videos.root, videos.shards, 3, 20))
    assert [index for index, _ in run] == list(range(3, 20))
    for index, data in run:
        assert data == Path(by_name[videos[index].name].file).read_bytes()
        assert videos[index].label == by_name[videos[index].name].label
    assert videos.contents(21) == Path(by_name[videos[21].name].file).read_bytes()
    with tarfile.open(packed / "shards" / videos.shards[0].name) as tar:
        assert tar.getnames()[0] == "000000000.mp4"


def test_packing_goes_on_and_gives_equal_bytes(packed, tmp_path):

    shutil.copytree(packed, tmp_path / "set")
    shards = tmp_path / "set" / "shards"
    before = {path.name: path.read_bytes() for path in shards.iterdir()}
    (shards / "manifest.csv").rename(shards / "plan.csv")  # stopped before its end
    (shards / "train-000002.tar").unlink()
    pack(tmp_path / "set", 0.01, progress=False)
    assert {path.name: path.read_bytes() for path in shards.iterdir()} == before
    with pytest.raises(UsageError, match="has shards of another set or size"):
        pack(tmp_path / "set", 0.5, progress=False)


def train_stream(packed, world_size=1, rank=0, batch_size=2, **share):
    videos = read_manifest(packed / "shards" / "manifest.csv", "train")
    dataset = train_set(videos)
    batches = len(videos) // world_size // batch_size
    return TrainStream(dataset, videos, Share(rank, world_size, batch_size, batches, **share), block=5)


@pytest.mark.parametrize("workers", (0, 1, 3))
@pytest.mark.parametrize("world_size", (1, 2, 3))
def test_a_training_epoch_has_every_video_once(packed, world_size, workers):
    orders = []
    for epoch in range(2):
        seen, lengths = [], []
        for rank in range(world_size):
            stream = train_stream(packed, world_size, rank, position=Position(epoch))
            batches = list(DataLoader(stream, batch_size=None, num_workers=workers))
            assert len(batches) == len(stream)
            lengths.append(len(batches))
            seen += [index for _, _, indices in batches for index in indices.tolist()]
        assert len(set(lengths)) == 1
        assert max(Counter(seen).values()) == 1
        assert len(seen) == 23 // world_size // 2 * 2 * world_size
        orders.append(seen)
    assert orders[0] != orders[1]


def test_items_are_those_of_files(packed):
    """Of the same (seed, epoch, index)."""
    stream = train_stream(packed, position=Position(4))
    files = train_set(as_files(packed, stream.videos))
    for frames, labels, indices in stream:
        for item, label, index in zip(frames, labels.tolist(), indices.tolist()):
            expected = files[(4, index)]
            assert torch.equal(item, expected[0])
            assert label == expected[1]
            assert torch.equal(stream.dataset[(4, index)][0], item)  # read by itself, as for a report


@pytest.mark.parametrize("workers", (0, 2, 3))
def test_an_epoch_resumes(packed, workers):
    def indices(stream):
        loader = DataLoader(stream, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
        return [[batch[2].tolist() for batch in loader] for _ in range(2)]

    whole = indices(train_stream(packed))
    for first in (1, 2, 7, 10):
        resumed = indices(train_stream(packed, position=Position(0, 2 * first)))
        assert resumed[0] == whole[0][first:]
        assert resumed[1] == whole[1]


@pytest.mark.parametrize("done", ((), (1, 2, 5), range(7)))
@pytest.mark.parametrize("world_size", (1, 3))
def test_an_evaluation_resumes(packed, world_size, done):
    """The videos that are done are left out; a rank without videos has one batch, None."""
    videos = read_manifest(packed / "shards" / "manifest.csv", "val")
    seen = []
    for rank in range(world_size):
        dataset = eval_set(videos)
        dataset.done = frozenset(done)
        stream = EvalStream(dataset, videos, Share(rank, world_size, 2), 2)
        batches = list(DataLoader(stream, batch_size=None, num_workers=2))
        assert len(batches) == len(stream) > 0
        assert batches == [None] or None not in batches
        seen += [index for batch in batches if batch is not None for index in batch[2].tolist()]
    assert sorted(seen) == sorted(set(range(7)) - set(done))


@pytest.mark.parametrize("workers", (0, 1, 3))
@pytest.mark.parametrize("world_size", (1, 2, 5))
def test_an_evaluation_has_every_video_once(packed, world_size, workers):
    videos = read_manifest(packed / "shards" / "manifest.csv", "val")
    files = eval_set(as_files(packed, videos))
    seen = {}
    for rank in range(world_size):
        dataset = eval_set(videos)
        stream = EvalStream(dataset, videos, Share(rank, world_size, 2), max(workers, 1))
        batches = list(DataLoader(stream, batch_size=None, num_workers=workers))
        assert len(batches) == len(stream)
        for frames, _, indices in batches:
            for item, index in zip(frames, indices.tolist()):
                assert index not in seen
                seen[index] = item
    assert sorted(seen) == list(range(7))
    for index, item in seen.items():
        assert torch.equal(item, files[index][0])


class Unsteady(http.server.SimpleHTTPRequestHandler):
    """Breaks off the first answer for each shard."""

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        data = (self.server.root / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        first = name not in self.server.requested
        self.server.requested.append(name)
        self.wfile.write(data[: len(data) // 2] if first and self.server.unsteady else data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(packed):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Unsteady)) as httpd:
        httpd.requested, httpd.root, httpd.unsteady = [], packed / "shards", True
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd
        httpd.shutdown()


def test_over_http_with_broken_connections(packed, server):
    manifest = packed / "shards" / "manifest.csv"
    remote = read_manifest(manifest, "train", root=server.url)
    local = read_manifest(manifest, "train")
    assert list(read_run(remote.root, remote.shards, 2, 22)) == list(read_run(local.root, local.shards, 2, 22))
    assert max(Counter(server.requested).values()) <= 3


@pytest.fixture
def address(packed):
    """Of a server in a process of its own: workers are forked, which threads of the parent can dead-lock."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", packed / "shards"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield re.search(r"http://127.0.0.1:\d+", process.stdout.readline())[0]
        process.kill()


def test_the_data_module(packed, address):
    """Training, validation and test batches of the same set, as files and as shards, locally and over HTTP."""

    def loaders(manifest, **settings):
        data = VideoDataModule(
            str(manifest), class_names=["a", "b"], splits=Splits(test="val"), clip=CLIP, augment=AUGMENT,
            views=Views(2, 3), batch_size=4, num_workers=2, **settings,
        )  # fmt: skip
        data.setup("fit")
        data.setup("test")
        return data, data.train_dataloader(), data.val_dataloader(), data.test_dataloader()

    files = loaders(packed / "manifest.csv")
    for root in (None, address):
        shards = loaders(packed / "shards" / "manifest.csv", root=root)
        assert [len(loader) for loader in shards[1:2]] == [len(loader) for loader in files[1:2]] == [5]
        for stage, ours, theirs in (("validate", shards[2], files[2]), ("test", shards[3], files[3])):
            items = [
                {
                    data.datasets[stage].videos[index].name: item
                    for frames, _, indices in loader
                    for item, index in zip(frames, indices.tolist())
                }
                for data, loader in ((shards[0], ours), (files[0], theirs))
            ]
            assert items[0].keys() == items[1].keys()
            assert all(torch.equal(items[0][name], items[1][name]) for name in items[0])
        assert sum(len(labels) for _, labels, _ in shards[1]) == 20
        for loader in (*shards[1:], *files[1:]):
            loader._iterator = None  # ends its workers now; left to the garbage collector, that takes 5 s for each


def rewrite(packed, tmp_path, change):
    """A copy of the set of shards whose first training shard is made anew from (name, contents) pairs."""

    shutil.copytree(packed / "shards", tmp_path / "shards")
    videos = read_manifest(tmp_path / "shards" / "manifest.csv", "train")
    path = tmp_path / "shards" / videos.shards[0].name
    with tarfile.open(path) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(path, "w") as tar:
        for name, contents in change(members):
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
    return videos


def symlink(name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    ("change", "message"),
    (
        (lambda members: members[:-1], r"train-000000.tar: can't be read: ends after \d+ of \d+ videos"),
        (lambda members: [members[1], members[0], *members[2:]], "expected video 0, got 1"),
        (
            lambda members: [("../000000000.mp4", members[0][1]), *members[1:]],
            r"expected one video under a number, got member '\.\./000000000'",
        ),
        (
            lambda members: [("/etc/000000000.mp4", members[0][1]), *members[1:]],
            "expected one video under a number, got member '/etc/000000000'",
        ),
        (lambda members: [(symlink("000000000.mp4", "/etc/passwd"), b""), *members[1:]], "expected video 0, got 1"),
        (lambda members: [("x.mp4", b"x"), *members], "expected one video under a number, got member 'x'"),
    ),
    ids=("one lost", "exchanged", "up", "absolute", "link", "stranger"),
)
def test_other_members_than_the_manifest_lists_are_refused(packed, tmp_path, change, message):
    videos = rewrite(packed, tmp_path, change)
    with pytest.raises(ShardError, match=message):
        list(read_run(videos.root, videos.shards, 0, 23))


def test_cut_and_missing_shards(packed, tmp_path):
    videos = rewrite(packed, tmp_path, lambda members: members)
    path = tmp_path / "shards" / videos.shards[0].name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(ShardError, match="train-000000.tar: "):
        list(read_run(videos.root, videos.shards, 0, 23))
    path.unlink()
    with pytest.raises(ShardError, match="can't be read"):
        list(read_run(videos.root, videos.shards, 0, 23))
    with pytest.raises(ManifestError, match=r"line 2: missing file: .*train-000000.tar"):
        read_manifest(tmp_path / "shards" / "manifest.csv", "train")


@pytest.mark.parametrize("name", ("../up.tar", "/etc/x.tar", "pipe:rm.tar", ".hidden.tar", "a.zip", ""))
def test_names_of_shards_that_lead_elsewhere_are_refused(tmp_path, name):
    (tmp_path / "m.csv").write_text(f"path,label,shard\na.mp4,x,{name}\n")
    with pytest.raises(ManifestError, match=r"expected the name of a shard, like 'train-000000.tar', got "):
        read_manifest(tmp_path / "m.csv")


def test_shards_must_be_listed_in_their_order(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,shard\na.mp4,x,a.tar\nb.mp4,x,b.tar\nc.mp4,x,a.tar\n")
    with pytest.raises(ManifestError, match="expected the videos of a shard in consecutive rows"):
        read_manifest(tmp_path / "m.csv")


def test_broken_videos_are_replaced_by_others_of_their_block(packed, tmp_path, caplog):
    videos = rewrite(packed, tmp_path, lambda members: [(members[0][0], b"broken"), *members[1:]])
    dataset = train_set(videos, max_broken=0.1)
    stream = TrainStream(dataset, videos, Share(0, 1, 2, 11), block=5)
    seen = [index for _, _, indices in stream for index in indices.tolist()]
    assert 0 not in seen
    assert len(seen) == 22
    assert dataset.broken_files() == [videos[0].file]
    assert "broken video replaced by another" in caplog.text
    with pytest.raises(BrokenVideoError, match="none of 1 videos in a row"):
        dataset.item(0, 0, {0: b"broken"})


@pytest.mark.slow
def test_prepare_packs(tmp_path, capsys):
    for number in range(4):
        path = tmp_path / "raw" / "c" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, numbered_frames(5, 48, 64))
    arguments = ["prepare", str(tmp_path / "raw"), str(tmp_path / "out"), "--workers", "1", "--shards", "100"]
    assert main(arguments) == 0
    assert "shards: " in capsys.readouterr().out
    videos = read_manifest(tmp_path / "out" / "shards" / "manifest.csv")
    assert [shard.name for shard in videos.shards] == ["all-000000.tar"]
    assert len(list(read_run(videos.root, videos.shards, 0, 4))) == 4
    assert os.listdir(tmp_path / "out" / "shards").count("manifest.csv") == 1


@pytest.mark.parametrize("workers", (0, 2))
def test_a_pass_that_is_dropped_is_repeated(packed, workers):
    """See `Passes`."""

    def indices(batches):
        return [index for batch in batches for index in batch[2].tolist()]

    epochs = [indices(train_stream(packed, position=Position(epoch))) for epoch in (0, 1)]
    loader = WatchedLoader(
        train_stream(packed), batch_size=None, num_workers=workers, persistent_workers=workers > 0
    )  # fmt: skip
    for epoch in (0, 1):
        iter(loader)
        found = indices(loader)
        assert found == epochs[epoch] if workers == 0 else sorted(found) == sorted(epochs[epoch])


def test_runs_of_workers_in_a_resumed_epoch():
    """The example in the documentation of `training_run`."""
    share = Share(rank=0, world_size=2, batch_size=3, batches=5)
    assert [training_run(share, 0, worker, 2) for worker in (0, 1)] == [(0, 0, 9, 0), (1, 9, 15, 0)]
    assert [training_run(share, 3, worker, 2) for worker in (0, 1)] == [(1, 9, 15, 3), (0, 0, 9, 6)]
    other = Share(rank=1, world_size=2, batch_size=3, batches=5)
    assert [training_run(other, 0, worker, 2) for worker in (0, 1)] == [(0, 15, 24, 0), (1, 24, 30, 0)]


def test_shards_of_webdataset_are_read_and_ours_by_webdataset(packed, tmp_path):
    """The format is that of another project: its writer and its reader agree with ours."""
    from webdataset import TarWriter
    from webdataset.tariterators import group_by_keys, tar_file_expander

    shutil.copytree(packed / "shards", tmp_path / "shards")
    videos = read_manifest(tmp_path / "shards" / "manifest.csv", "train")
    ours = list(read_run(videos.root, videos.shards, 0, 23))
    for shard in videos.shards:
        path = tmp_path / "shards" / shard.name
        with path.open("rb") as stream:
            samples = list(group_by_keys(tar_file_expander([{"url": shard.name, "stream": stream}])))
        assert [sample["mp4"] for sample in samples] == [
            data for index, data in ours if shard.first <= index < shard.first + shard.num_videos
        ]
        with TarWriter(str(path), encoder=False) as tar:
            for number, sample in enumerate(samples):
                tar.write({"__key__": f"{number:06d}", "mp4": sample["mp4"]})
    assert list(read_run(videos.root, videos.shards, 0, 23)) == ours


def test_a_second_file_under_a_number_is_refused_before_the_first_is_used(packed, tmp_path):
    videos = rewrite(packed, tmp_path, lambda members: [members[0], ("000000000.json", b"{}"), *members[1:]])
    with pytest.raises(ShardError, match="expected one video under a number, got member '000000000'"):
        next(read_run(videos.root, videos.shards, 0, 1))


def test_members_that_hold_no_sample_are_ignored(packed, tmp_path):
    """Folders, links and files without a suffix, as WebDataset's reader ignores them."""

    def folder(name):
        info = tarfile.TarInfo(name)
        info.type = tarfile.DIRTYPE
        return info

    videos = rewrite(
        packed,
        tmp_path,
        lambda members: [(folder("sub"), b""), ("README", b"x"), (symlink("a.mp4", "b"), b""), *members],
    )
    original = read_manifest(packed / "shards" / "manifest.csv", "train")
    assert list(read_run(videos.root, videos.shards, 0, 23)) == list(read_run(original.root, original.shards, 0, 23))


def test_a_sparse_member_is_refused(packed, tmp_path):
    """It could claim to be of any size, and zeros would fill the memory."""
    videos = read_manifest(packed / "shards" / "manifest.csv", "train")
    shutil.copytree(packed / "shards", tmp_path / "shards")
    info = tarfile.TarInfo("000000000.mp4")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**50)}
    info.size = 1
    with tarfile.open(tmp_path / "shards" / videos.shards[0].name, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(ShardError, match="expected one video under a number"):
        list(read_run(str(tmp_path / "shards"), videos.shards, 0, 1))
