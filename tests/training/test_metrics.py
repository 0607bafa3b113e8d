"""Averaging of views and counting of videos."""

import pytest
import torch

from gcvideo.training.metrics import VideoScores, accuracies, average_views


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
    metrics = accuracies(10, "video_")
    scores = torch.arange(10.0).repeat(4, 1)  # ranks the classes 9, 8, 7, ...
    values = metrics(scores, torch.tensor([9, 5, 4, 0]))
    assert values == {"video_top1": 0.25, "video_top5": 0.5}


def test_top_5_of_fewer_classes():
    assert accuracies(3, "")(torch.eye(3), torch.tensor([1, 2, 0])) == {"top1": 0.0, "top5": 1.0}


def test_scores_are_sorted_by_video_with_the_ranks_of_their_views():
    scores = VideoScores()
    logits = torch.tensor([[[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0], [0.0, 5.0, 0.0]]])
    scores.update(torch.tensor([7, 2]), torch.tensor([0, 1]), logits)
    indices, labels, ranks, probabilities = scores.compute()
    assert indices.tolist() == [2, 7]
    assert labels.tolist() == [1, 0]
    assert ranks.tolist() == [[1, 0], [0, 2]]
    torch.testing.assert_close(probabilities, average_views(logits)[[1, 0]])


def test_a_video_counted_twice_is_an_error():
    scores = VideoScores()
    for _ in range(2):
        scores.update(torch.tensor([3]), torch.tensor([0]), torch.randn(1, 2, 4))
    with pytest.raises(RuntimeError, match=r"videos counted more than once: \[3\]"):
        scores.compute()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_video_at_all_is_an_error():
    with pytest.raises(RuntimeError, match="no video was evaluated"):
        VideoScores().compute()
