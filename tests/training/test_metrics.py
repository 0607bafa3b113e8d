"""Averaging of views and counting of videos."""

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from gcvideo.errors import GcvideoError
from gcvideo.training.metrics import (
    VideoResults,
    VideoScores,
    accuracies,
    average_views,
    num_better,
    predicted_classes,
    results_of,
    true_classes,
)


def test_views_are_averaged_as_probabilities():
    logits = torch.randn(2, 5, 4)
    expected = torch.stack([torch.stack([view.softmax(0) for view in video]).mean(0) for video in logits])
    torch.testing.assert_close(average_views(logits), expected)
    torch.testing.assert_close(average_views(logits).sum(1), torch.ones(2))
    assert average_views(logits.bfloat16()).dtype == torch.float32


def test_probabilities_and_not_logits_decide():
    """One very sure view against two mildly sure ones: logits would follow the one."""
    logits = torch.tensor([[[9.0, 0.0], [0.0, 1.0], [0.0, 4.0]]])
    assert logits.mean(1).argmax() == 0
    assert average_views(logits).argmax() == 1


def test_top_1_and_top_5():
    metrics = accuracies("video_")
    scores = torch.arange(10.0).repeat(4, 1, 1)  # ranks the classes 9, 8, 7, ...
    values = metrics(num_better(scores, torch.tensor([9, 5, 4, 0])))
    assert values == {"video_top1": 0.25, "video_top5": 0.5}


def test_top_1_and_top_5_are_counted_apart_when_they_agree_at_first():
    metrics = accuracies("")
    metrics.update(torch.tensor([0]))
    metrics.update(torch.tensor([3]))
    assert metrics.compute() == {"top1": 0.5, "top5": 1.0}


@pytest.mark.parametrize(("num_classes", "top1", "top5"), ((1, 1, 1), (2, 0, 1), (5, 0, 1), (6, 0, 0), (400, 0, 0)))
@pytest.mark.parametrize("value", (0.0, -3.5, float("nan")))
def test_a_network_that_cannot_tell_the_classes_apart_is_wrong(num_classes, top1, top5, value):
    """With fewer than 6 classes, every answer is among the best 5."""
    better = num_better(torch.full((3, 2, num_classes), value), torch.tensor([0, 0, num_classes - 1]))
    assert accuracies("")(better) == {"top1": top1, "top5": top5}


def test_the_predicted_class_is_the_true_one_only_where_it_is_counted_as_correct():
    scores = torch.randint(0, 3, (500, 4)).float()  # many ties
    labels = torch.randint(0, 4, (500,))
    predicted = predicted_classes(scores, labels)
    is_correct = num_better(scores[:, None], labels)[:, 0] == 0
    assert torch.equal(predicted == labels, is_correct)
    best = scores.amax(1)
    assert torch.equal(scores.gather(1, predicted[:, None])[:, 0], best)
    assert is_correct.any()
    assert (~is_correct & (scores.gather(1, labels[:, None])[:, 0] == best)).any()


def test_nothing_evaluated_is_an_error():
    with pytest.raises(GcvideoError, match="no video was evaluated"):
        accuracies("")(torch.empty(0, dtype=torch.int64))


def test_results_are_sorted_by_video_and_count_the_better_classes_of_each_view():
    scores = VideoScores()
    logits = torch.tensor([[[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0], [0.0, 5.0, 0.0]]])
    scores.update(results_of(torch.tensor([7, 2]), torch.tensor([0, 1]), logits))
    results = scores.compute()
    assert isinstance(results, VideoResults)
    assert results.indices.tolist() == [2, 7]
    assert results.labels.tolist() == [1, 0]
    assert results.better.tolist() == [[2, 0], [0, 2]]
    torch.testing.assert_close(results.scores, average_views(logits)[[1, 0]])


def test_a_class_that_ties_with_the_true_one_counts_as_better():
    logits = torch.tensor([[[2.0, 2.0, 1.0], [0.0, 3.0, 3.0], [4.0, 3.0, 3.0]]])
    assert num_better(logits, torch.tensor([0])).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("num_views, num_classes", ((1, 1), (1, 3), (4, 1)))
def test_one_video_keeps_its_dimensions(num_views, num_classes):
    """torchmetrics squeezes tensors of one element."""
    scores = VideoScores()
    scores.update(results_of(torch.tensor([5]), torch.tensor([0]), torch.randn(1, num_views, num_classes)))
    results = scores.compute()
    assert (results.indices.shape, results.labels.shape) == ((1,), (1,))
    assert (results.better.shape, results.scores.shape) == ((1, num_views), (1, num_classes))


@pytest.mark.parametrize(
    "shapes",
    (
        ((2,), (3,), (2, 4), (2, 5)),
        ((2,), (2,), (8,), (2, 5)),
        ((2,), (2,), (2, 4), (2, 4, 5)),
        ((2, 1), (2,), (2, 4), (2, 5)),
    ),
)
def test_results_of_other_shapes_are_refused(shapes):
    with pytest.raises(
        ValueError, match=r"expected indices \[N\], labels \[N\] or \[N, K\], better \[N, V\] and scores \[N, K\], got"
    ):
        VideoResults(*(torch.zeros(shape) for shape in shapes))


def test_reset_forgets_the_videos():
    scores = VideoScores()
    for _ in range(2):
        scores.update(results_of(torch.tensor([3]), torch.tensor([0]), torch.randn(1, 2, 4)))
        assert scores.compute().indices.tolist() == [3]
        scores.reset()


def _results(index, multi_label):
    """One video, whose logits are drawn from its index."""
    logits = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(index))
    label = torch.tensor([index % 3])
    return results_of(torch.tensor([index]), true_classes(label, 3) if multi_label else label, logits)


def _evaluate_on_rank(rank, counts, multi_label, folder):
    """Process `rank` of `len(counts)`: evaluate `counts[rank]` videos and save the results of all."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=len(counts))
    scores = VideoScores()
    for index in range(sum(counts[:rank]), sum(counts[: rank + 1])):
        scores.update(_results(index, multi_label))
    torch.save(tuple(scores.compute()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("counts, multi_label", (((2, 1), False), ((1, 0), False), ((1, 0), True)))
def test_two_processes_give_the_results_of_one(tmp_path, counts, multi_label):
    """Also where one rank has no video, because all of its videos are broken."""
    torch.multiprocessing.spawn(_evaluate_on_rank, (counts, multi_label, str(tmp_path)), nprocs=2)
    one = VideoScores()
    for index in range(sum(counts)):
        one.update(_results(index, multi_label))
    for rank in (0, 1):
        results = VideoResults(*torch.load(tmp_path / f"{rank}.pt", weights_only=True))
        for actual, expected in zip(results, one.compute()):
            assert torch.equal(actual, expected)


def test_a_video_counted_twice_is_an_error():
    scores = VideoScores()
    for _ in range(2):
        scores.update(results_of(torch.tensor([3]), torch.tensor([0]), torch.randn(1, 2, 4)))
    with pytest.raises(GcvideoError, match=r"videos counted more than once: \[3\]"):
        scores.compute()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_video_at_all_is_an_error():
    with pytest.raises(GcvideoError, match="no video was evaluated"):
        VideoScores().compute()
