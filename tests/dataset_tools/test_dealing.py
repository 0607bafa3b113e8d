"""Laws of dealing videos to parts: groups stay together, classes in proportion, whatever the order of the rows."""

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcvideo.dataset_tools.dealing import PARTS, Shares, deal
from gcvideo.errors import UsageError

shares = st.tuples(st.integers(1, 90), st.integers(0, 40), st.integers(0, 40)).filter(lambda s: s[1] + s[2] > 0)


@st.composite
def classes(draw):
    """Rows (label, group) of sets whose groups are of one class each, of which every class has two or more."""
    rows = []
    for label in draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True)):
        sizes = draw(st.lists(st.integers(1, 5), min_size=2, max_size=12))
        rows += [(label, f"{label}{number}") for number, size in enumerate(sizes) for _ in range(size)]
    return draw(st.permutations(rows))


def dealt(rows, shares, seed=0):
    return deal([[label] for label, _ in rows], [group for _, group in rows], shares, seed)


@given(classes(), shares, st.integers(0, 9))
def test_no_group_is_in_two_parts_and_every_class_is_in_as_many_as_it_can_be(rows, numbers, seed):
    chosen = Shares(*numbers)
    parts = dealt(rows, chosen, seed)
    assert len(parts) == len(rows)
    assert set(parts) <= set(chosen.positive())
    parts_of = defaultdict(set)
    for (_, group), part in zip(rows, parts):
        parts_of[group].add(part)
    assert all(len(found) == 1 for found in parts_of.values())
    for label in {label for label, _ in rows}:
        groups = {group for own, group in rows if own == label}
        found = {part for (own, _), part in zip(rows, parts) if own == label}
        assert len(found) == min(len(groups), len(chosen.positive()))
        assert "train" in found
        if len(found) == 2 == len(chosen.positive()) - 1:
            assert "test" in found  # a claim needs it more than a choice of the checkpoint


@given(classes(), shares, st.integers(0, 9))
def test_parts_are_within_one_group_of_their_target(rows, numbers, seed):
    """Except that a part without a group gets one: then it has exactly one, and the others lack as much."""
    chosen = Shares(*numbers)
    parts = dealt(rows, chosen, seed)
    total = sum(chosen.positive().values())
    for label in {label for label, _ in rows}:
        sizes = Counter(group for own, group in rows if own == label)
        part_of = {group: part for (_, group), part in zip(rows, parts)}
        groups = Counter(part_of[group] for group in sizes)
        for part, share in chosen.positive().items():
            number = sum(size for group, size in sizes.items() if part_of[group] == part)
            surplus = number - sizes.total() * share / total
            filled = sum(groups[other] == 1 for other in groups if other != part)
            assert surplus < max(sizes.values()) or groups[part] == 1
            assert -surplus < max(sizes.values()) * max(1, filled)


@given(classes(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(rows, seed, rng):
    before = dict(zip((group for _, group in rows), dealt(rows, Shares(), seed)))
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert dict(zip((group for _, group in shuffled), dealt(shuffled, Shares(), seed))) == before


def test_another_seed_deals_otherwise():
    rows = [("a", str(number)) for number in range(40)]
    assert dealt(rows, Shares(), 0) != dealt(rows, Shares(), 1)


@pytest.mark.parametrize(
    ("number", "expected"),
    ((2, (1, 0, 1)), (3, (1, 1, 1)), (6, (4, 1, 1)), (20, (14, 3, 3)), (100, (70, 15, 15)), (1000, (700, 150, 150))),
)
def test_videos_without_groups(number, expected):
    counts = Counter(dealt([("a", str(index)) for index in range(number)], Shares()))
    assert tuple(counts[part] for part in PARTS) == expected


def test_odd_videos_of_many_classes_are_spread_over_the_parts():
    """10 videos at 70/15/15 are 7, 1.5 and 1.5: val and test take turns."""
    rows = [(f"c{label}", f"{label}/{number}") for label in range(40) for number in range(10)]
    assert Counter(dealt(rows, Shares())) == {"train": 280, "val": 60, "test": 60}


def test_persons_who_perform_every_class():
    rows = [(label, person) for label in "abc" for person in ("p1", "p2", "p3") for _ in range(3)]
    parts = dealt(rows, Shares(34, 33, 33))
    assert Counter(parts) == {"train": 9, "val": 9, "test": 9}
    assert len({(person, part) for (_, person), part in zip(rows, parts)}) == 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 7)), min_size=1, max_size=40), st.integers(0, 9))
def test_groups_of_several_classes(rows, seed):
    """Dealt as a whole, with training videos of every class, or refused with the name of a class."""
    rows = [(label, str(group)) for label, group in rows]
    refused = ""
    try:
        parts = dealt(rows, Shares(), seed)
    except UsageError as error:
        refused = str(error)
    if refused:
        assert any(f"'{label}'" in refused for label, _ in rows)
    else:
        assert len({(group, part) for (_, group), part in zip(rows, parts)}) == len({group for _, group in rows})
        assert {label for (label, _), part in zip(rows, parts) if part == "train"} == {label for label, _ in rows}


def test_classes_of_one_source_are_named():
    rows = [("run", "1"), ("run", "2"), ("swim", "3"), ("jump", "g"), ("jump", "g")]
    expected = r"2 of 3 classes .*'jump' \(2 video\(s\) of 1 source\), 'swim' \(1 video\(s\) of 1 source\)"
    with pytest.raises(UsageError, match=expected):
        dealt(rows, Shares())


@pytest.mark.parametrize("numbers", ((0, 1, 1), (1, 0, 0), (1, -1, 2)))
def test_shares_of_nothing(numbers):
    with pytest.raises(ValueError, match="expected a share for train, and for val or test"):
        Shares(*numbers)


def test_a_large_set_is_dealt_in_seconds():
    rng = random.Random(0)
    rows = [(f"c{rng.randrange(400)}", f"v{index // 3}-{index % 400}") for index in range(40_000)]
    rows = [(label, f"{label} {group}") for label, group in rows]
    parts = Counter(dealt(rows, Shares(80, 10, 10)))
    assert abs(parts["train"] / len(rows) - 0.8) < 0.01
