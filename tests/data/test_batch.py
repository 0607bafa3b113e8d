"""Items and batches check their own shapes, and stay what they are on their way to the device."""

import pickle

import pytest
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch.utils.data import DataLoader

from gcvideo.data.batch import Batch, Item, collate


def frames(*shape, dtype=torch.uint8):
    return torch.zeros(shape, dtype=dtype)


def test_items_become_a_batch():
    items = [Item(torch.full((2, 3, 4, 8, 8), n, dtype=torch.uint8), 10 + n, 20 + n) for n in range(3)]
    batch = collate(items)
    assert isinstance(batch, Batch)
    assert batch.frames.shape == (3, 2, 3, 4, 8, 8)
    assert batch.frames[:, 0, 0, 0, 0, 0].tolist() == [0, 1, 2]
    assert batch.labels.tolist() == [10, 11, 12]
    assert batch.indices.tolist() == [20, 21, 22]


@pytest.mark.parametrize("items", (1, 3))
def test_the_order_of_memory_is_that_of_the_items(items):
    """Channels stay innermost: no transposition on the way."""
    channels_last = frames(2, 4, 8, 8, 3).permute(0, 4, 1, 2, 3)
    batch = collate([Item(channels_last, 0, 0)] * items)
    assert batch.frames.permute(0, 1, 3, 4, 5, 2).is_contiguous()


def test_batches_stay_batches():
    """As Lightning moves them to a device, as workers send them, and as DataLoader pins or converts them."""
    batch = collate([Item(frames(1, 3, 2, 4, 4), 1, 2)] * 2)
    moved = apply_to_collection(batch, torch.Tensor, lambda tensor: tensor + 1)
    assert isinstance(moved, Batch)
    assert moved.labels.tolist() == [2, 2]
    assert isinstance(pickle.loads(pickle.dumps(batch)), Batch)
    assert isinstance(next(iter(DataLoader([batch], batch_size=None))), Batch)
    assert isinstance(batch._replace(labels=batch.labels + 1), Batch)


@pytest.mark.parametrize(
    ("bad", "message"),
    (
        (frames(3, 4, 8, 8), r"expected uint8 frames \[V, 3, T, S, S\], got torch.uint8 \[3, 4, 8, 8\]"),
        (frames(1, 4, 3, 8, 8), r"expected uint8 frames \[V, 3, T, S, S\], got torch.uint8 \[1, 4, 3, 8, 8\]"),
        (frames(1, 3, 4, 8, 8, dtype=torch.float32), r"expected uint8 .*, got torch.float32"),
    ),
)
def test_an_item_of_another_form_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Item(bad, 0, 0)


def test_a_batch_of_another_form_is_refused():
    one = torch.zeros(1, dtype=torch.long)
    with pytest.raises(
        ValueError, match=r"expected uint8 frames \[B, V, 3, T, S, S\], got torch.uint8 \[1, 3, 4, 8, 8\]"
    ):
        Batch(frames(1, 3, 4, 8, 8), one, one)
    with pytest.raises(
        ValueError, match=r"expected 2 labels and indices for as many videos, got shapes \[2\] and \[1\]"
    ):
        Batch(frames(2, 1, 3, 4, 8, 8), torch.zeros(2, dtype=torch.long), one)
