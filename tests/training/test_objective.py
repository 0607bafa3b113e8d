"""Losses, probabilities and metrics of clips with one class and with several, against other definitions."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gcvideo.data.batch import Batch
from gcvideo.errors import UsageError
from gcvideo.training.class_weights import weights_of
from gcvideo.training.metrics import (
    ClassCounts,
    average_precisions,
    is_correct,
    mean_average_precision,
    num_better,
    predicted_classes,
    results_of,
    true_classes,
)
from gcvideo.training.mixing import Mixing
from gcvideo.training.objective import loss_of, probabilities
from gcvideo.training.optim import Optimization
from gcvideo.training.task import VideoTask

N, K = 6, 5


@pytest.fixture
def logits():
    return torch.randn(N, K)


@pytest.fixture
def several():
    """Truth values of six videos; the third has no class."""
    rows = torch.rand(N, K) < 0.4
    rows[0, 1], rows[2] = True, False
    return rows


def test_one_class_is_cross_entropy(logits):
    labels, weights = torch.arange(N) % K, torch.rand(K)
    assert torch.equal(
        loss_of(logits, labels, False, weights, 0.1), F.cross_entropy(logits, labels, weights, label_smoothing=0.1)
    )
    assert torch.allclose(probabilities(logits, False).sum(-1), torch.ones(N))


def test_several_classes_are_torch_s_multi_label_loss(logits, several):
    """Its mean over the classes of -y log p - (1 - y) log(1 - p), p = sigmoid."""
    expected = nn.MultiLabelSoftMarginLoss(reduction="none")(logits, several.float())
    torch.testing.assert_close(loss_of(logits, several, True, reduction="none"), expected)
    torch.testing.assert_close(loss_of(logits, several, True), expected.mean())
    torch.testing.assert_close(probabilities(logits, True), 1 / (1 + (-logits).exp()))


def test_smoothing_and_weights_of_several_classes(logits, several):
    p, y, weights = logits.double().sigmoid(), several.double() * 0.8 + 0.1, torch.rand(K, dtype=torch.double)
    expected = -(weights * y * p.log() + (1 - y) * (1 - p).log()).mean()
    torch.testing.assert_close(loss_of(logits.double(), several, True, weights, 0.2), expected)


def test_balanced_weights_make_both_answers_equally_heavy():
    rows = torch.tensor([[True, False], [False, False], [False, False], [False, True]])
    assert weights_of(rows, 2).tolist() == [3.0, 3.0]
    assert weights_of(torch.tensor([[True, False]] * 5), 2).tolist() == pytest.approx(
        [1 / 5, 5.0]
    )  # all have one, none the other


def test_one_of_one_class_is_the_case_of_one_class(logits):
    """A row with a single true class gives what its index gives."""
    labels, views = torch.arange(N) % K, torch.randn(N, 3, K)
    rows = true_classes(labels, K)
    assert rows.sum() == N
    assert torch.equal(num_better(views, labels), num_better(views, rows))
    assert torch.equal(predicted_classes(logits, labels), predicted_classes(logits, rows))


def test_any_true_class_is_right_unless_another_ties():
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.5, 0.5, 0.2], [0.1, 0.2, 0.3], [0.9, 0.1, 0.1]])
    rows = torch.tensor([[1, 0, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0]]).bool()
    assert num_better(scores[:, None], rows)[:, 0].tolist() == [0, 1, 0, 5]  # without a class wrong in top-5 as well
    assert predicted_classes(scores, rows).tolist() == [0, 1, 2, 0]
    assert [is_correct(score, row) for score, row in zip(scores, rows)] == [True, False, True, False]


def brute_force(scores, labels):
    """Sum over the thresholds, from the highest, of the gain in recall x precision."""
    pairs, total, value, before = sorted(zip(scores, labels), reverse=True), sum(labels), 0.0, 0
    for threshold in sorted(set(scores), reverse=True):
        taken = [label for score, label in pairs if score >= threshold]
        value += (sum(taken) - before) / total * sum(taken) / len(taken)
        before = sum(taken)
    return value


def test_average_precision_is_its_definition():
    """With ties, which a rank by rank computation gets wrong."""
    scores = (torch.rand(40, 3) * 8).round() / 8
    labels = torch.rand(40, 3) < 0.3
    expected = [brute_force(scores[:, column].tolist(), labels[:, column].tolist()) for column in range(3)]
    assert average_precisions(scores, labels).tolist() == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_classes_that_no_video_has_do_not_count():
    logits, labels = torch.tensor([[[2.0, 0.0, 1.0]], [[-1.0, 0.0, 2.0]]]), torch.tensor([[1, 0, 0], [0, 0, 1]]).bool()
    results = results_of(torch.arange(2), labels, logits)
    assert average_precisions(results.scores, labels).tolist() == pytest.approx([1, math.nan, 1], nan_ok=True)
    assert mean_average_precision(results) == 1
    assert mean_average_precision(results._replace(labels=torch.zeros(2, 3, dtype=torch.bool))) == 0


def test_classes_are_counted_once_for_each_label(several):
    counts = ClassCounts(K)
    counts.update(results_of(torch.arange(N), several, torch.randn(N, 2, K)))
    assert torch.equal(counts.compute()[0], several.sum(0))
    assert counts.compute()[1].sum() == N


def batch(labels):
    frames = torch.randint(0, 255, (len(labels), 2, 3, 4, 32, 32), dtype=torch.uint8)
    return Batch(frames, labels, torch.arange(len(labels)))


@pytest.mark.parametrize("multi_label", (False, True))
def test_labels_of_the_other_kind_are_refused(multi_label, several):
    task = VideoTask(list("abcde"), "slowonly_tiny", multi_label=multi_label)
    labels = torch.zeros(N, dtype=torch.long) if multi_label else several
    with pytest.raises(UsageError, match="VideoTask.multi_label and data.label_separator go together"):
        task.training_step(batch(labels), 0)


@pytest.mark.parametrize("settings", ({}, {"mixing": Mixing(0.8, 1.0), "optim": Optimization(label_smoothing=0.1)}))
def test_a_step_learns_several_classes(settings, several, monkeypatch):
    """Gradient steps on one batch lower its loss, with views beside each other and with mixed clips."""
    task = VideoTask(list("abcde"), "slowonly_tiny", dropout=0.0, multi_label=True, **settings)
    monkeypatch.setattr(task, "log", lambda *args, **kwargs: None)
    monkeypatch.setattr(task, "log_dict", lambda *args, **kwargs: None)
    optimizer, losses, data = torch.optim.AdamW(task.parameters(), lr=0.01), [], batch(several)
    for _ in range(12):
        optimizer.zero_grad()
        losses.append(task.training_step(data, 0))
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
