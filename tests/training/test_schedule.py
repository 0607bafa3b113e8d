"""Learning-rate schedules: exact values and laws."""

import math

import pytest

from gcvideo.training.schedule import Schedule


def test_cosine_with_warmup():
    schedule = Schedule(warmup_epochs=2, warmup_start=0.01)
    factors = [schedule.factor(step, 100, 5) for step in range(101)]
    assert factors[0] == 0.01
    assert factors[10] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.1)))
    assert factors[5] == pytest.approx((factors[0] + factors[10]) / 2)
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert all(a < b for a, b in zip(factors[:10], factors[1:11]))
    assert all(a > b for a, b in zip(factors[10:], factors[11:]))


def test_cosine_is_that_of_pyslowfast():
    """`lr_func_cosine`: COSINE_END_LR + (BASE - END) * (cos(pi * epoch / MAX_EPOCH) + 1) * 0.5, END = 0."""
    for step in (0, 7, 33, 99):
        assert Schedule().factor(step, 100, 10) == pytest.approx((math.cos(math.pi * step / 100) + 1) * 0.5)


def test_multistep():
    schedule = Schedule("multistep", milestones=(1, 3), gamma=0.1)
    factors = [schedule.factor(step, 40, 10) for step in (0, 9, 10, 29, 30, 39)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("settings", "message"),
    (
        ({"name": "poly"}, "schedule.name must be one of .'cosine', 'multistep'., got 'poly'"),
        ({"warmup_epochs": -1}, "schedule.warmup_epochs must be a finite number of at least 0, got -1"),
        ({"warmup_start": -0.1}, "schedule.warmup_start must be a finite number of at least 0, got -0.1"),
        ({"gamma": math.nan}, "schedule.gamma must be a finite number of at least 0, got nan"),
        ({"milestones": (1,)}, "belong to schedule.name multistep, which needs them; got cosine with milestones .1."),
        ({"name": "multistep"}, "which needs them; got multistep with milestones .."),
    ),
)
def test_bad_schedule(settings, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**settings)
