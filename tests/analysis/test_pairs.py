"""Closed forms and streams against loops over all pairs, laws, and hand-made maps of known distance."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcvideo.analysis import pairs
from gcvideo.analysis.pairs import CosineSums, cosine_distances, jensen_shannon


def cosine(a, b):
    return (1 - a @ b / a.norm() / b.norm()) / 2


def divergence(p, q):
    """As the paper's formula is written."""
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist()):
        total += (a * math.log(2 * a / (a + b)) if a else 0) + (b * math.log(2 * b / (a + b)) if b else 0)
    return total / 2


def loop(vectors, distance):
    """The four means by a loop over all ordered pairs of positions: all, other frame, other place, both."""
    num_frames, num_places, _ = vectors.shape
    positions = [(t, s) for t in range(num_frames) for s in range(num_places)]
    kinds = {(True, False): [], (False, True): [], (True, True): [], (False, False): []}
    for t, s in positions:
        for t2, s2 in positions:
            kinds[t != t2, s != s2].append(float(distance(vectors[t, s], vectors[t2, s2])))
    overall = sum(map(sum, kinds.values())) / len(positions) ** 2

    def mean(values):
        return sum(values) / len(values) if values else float("nan")

    return overall, mean(kinds[True, False]), mean(kinds[False, True]), mean(kinds[True, True])


@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 6), st.integers(0, 99))
def test_the_closed_form_is_the_loop(num_frames, num_places, width, seed):
    vectors = torch.randn(num_frames, num_places, width, generator=torch.Generator().manual_seed(seed)).double()
    assert cosine_distances(vectors) == pytest.approx(loop(vectors, cosine), abs=1e-12, nan_ok=True)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), st.integers(0, 99))
def test_the_divergence_is_the_loop(num_frames, num_places, width, seed):
    maps = torch.randn(num_frames, num_places, width, generator=torch.Generator().manual_seed(seed)).mul(3).softmax(2)
    maps = maps.double() / maps.double().sum(dim=2, keepdim=True)
    assert jensen_shannon(maps) == pytest.approx(loop(maps, divergence), abs=1e-12, nan_ok=True)


def test_parts_of_the_places_give_the_same_means_as_all_at_once():
    vectors = torch.randn(3, 10, 4)
    sums = CosineSums()
    for part in vectors.split(4, dim=1):
        sums.add(part)
    assert sums.means() == pytest.approx(cosine_distances(vectors), abs=1e-12)


def test_blocks_of_queries_give_the_same_divergences_as_all_at_once(monkeypatch):
    maps = torch.rand(3, 4, 6).double().softmax(2)
    expected = jensen_shannon(maps)
    monkeypatch.setattr(pairs, "_MAX_MIXED", 5 * 12 * 6)  # five queries at a time
    assert jensen_shannon(maps) == pytest.approx(expected, abs=1e-12)


def test_equal_vectors_have_distance_zero():
    vectors = torch.rand(5).expand(3, 4, 5)
    assert tuple(cosine_distances(vectors)) == pytest.approx((0, 0, 0, 0), abs=1e-15)
    maps = vectors / vectors.sum(dim=2, keepdim=True)
    assert tuple(jensen_shannon(maps)) == pytest.approx((0, 0, 0, 0), abs=1e-15)


@pytest.mark.parametrize("distances", (cosine_distances, jensen_shannon))
def test_the_order_of_frames_and_of_places_does_not_matter(distances):
    maps = torch.rand(3, 4, 6).double().softmax(2)
    shuffled = maps[torch.randperm(3)][:, torch.randperm(4)]
    assert distances(shuffled) == pytest.approx(distances(maps), abs=1e-12)


def test_maps_that_share_no_position():
    """Cosine 0 and divergence log 2 for each of the N (N - 1) pairs of different positions."""
    maps = torch.eye(6).view(2, 3, 6)
    assert tuple(cosine_distances(maps)) == pytest.approx((0.5 * 30 / 36, 0.5, 0.5, 0.5))
    assert tuple(jensen_shannon(maps)) == pytest.approx((math.log(2) * 30 / 36, *[math.log(2)] * 3))


def test_maps_that_depend_on_the_frame_only():
    maps = torch.eye(2)[:, None].expand(2, 3, 2)
    assert tuple(cosine_distances(maps)) == pytest.approx((0.25, 0.5, 0, 0.5))
    assert tuple(jensen_shannon(maps)) == pytest.approx((math.log(2) / 2, math.log(2), 0, math.log(2)))


def test_maps_that_depend_on_the_place_only():
    maps = torch.eye(3)[None].expand(2, 3, 3)
    assert tuple(cosine_distances(maps)) == pytest.approx((1 / 3, 0, 0.5, 0.5))


def test_opposite_vectors_have_distance_one():
    assert cosine_distances(torch.tensor([[[1.0, 2.0]], [[-1.0, -2.0]]])).other_frame == pytest.approx(1)


def test_zeros_have_no_direction():
    assert all(map(math.isnan, cosine_distances(torch.zeros(2, 3, 4))))
    one_of_two = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert cosine_distances(one_of_two).other_place == pytest.approx(0.5)


def test_a_sample_of_the_queries_estimates_the_mean_of_all():
    """Every draw of 2 of 3 frames and of 2 of 4 places once: their mean is exact."""
    maps = torch.rand(3, 4, 6).double().mul(4).softmax(2)
    frames, places = torch.combinations(torch.arange(3)), torch.combinations(torch.arange(4))
    draws = [jensen_shannon(maps[f][:, s], 3, 4) for f in frames for s in places]
    means = torch.tensor(draws, dtype=torch.double).mean(dim=0)
    assert means.tolist() == pytest.approx(list(jensen_shannon(maps)), abs=1e-12)
