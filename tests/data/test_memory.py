"""Bounds of batches: exact arithmetic."""

import pytest

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.memory import GIB, check_item, check_loaded, memory_bytes
from gcvideo.errors import UsageError


def test_a_view_and_a_video_at_their_limits():
    check_item("augment", 1, 1365, 256)  # 3 x 1365 x 256 x 256 = 2**28 - 65536
    with pytest.raises(UsageError, match=r"a view of clip.frames 1366 and augment.size 256 takes 0.25 GiB, .* 0.25"):
        check_item("augment", 1, 1366, 256)
    check_item("views", 21, 1024, 256)
    with pytest.raises(UsageError, match=r"22 views \(data.views\) of 1024 frames of 256x256 take 4.12 GiB .* 4"):
        check_item("views", 22, 1024, 256)


def test_batches_of_a_loader_at_their_limit():
    check_loaded("data.batch_size 10", GIB, 2, memory=10 * GIB)  # 5 batches
    with pytest.raises(UsageError, match=r"data.batch_size 10: 5 batches \(2 workers prepare 2 each\) take 5.00 GiB"):
        check_loaded("data.batch_size 10", GIB, 2, memory=10 * GIB - 1)
    check_loaded("data.batch_size 10", GIB, 0, memory=2 * GIB)
    assert GIB // 4 < memory_bytes() < 2**50


@pytest.mark.parametrize(
    "settings", ({"clip": {"frames": 4096}}, {"views": {"temporal": 10**6}}, {"augment": {"size": 9000}})
)
def test_the_data_module_refuses_them(settings):
    with pytest.raises(ValueError, match="takes 0.57 GiB|take 3364.56 GiB|<= 4096"):
        VideoDataModule(**settings)


def test_a_batch_that_the_machine_cannot_hold_is_refused_before_a_worker_starts(synthetic):
    data = VideoDataModule(str(synthetic), loading={"eval_batch_size": 10**6}, num_workers=2)
    with pytest.raises(UsageError, match=r"loading.eval_batch_size 1000000: 5 batches .* expected at most 0.5 of the"):
        data.setup("validate")
