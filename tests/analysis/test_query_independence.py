"""Statistics of networks against direct computation from the features that the blocks see, and laws of the summary."""

import math

import pytest
import torch
from torch import nn

from gcvideo import create_model, inserted_blocks
from gcvideo.analysis import measure as measuring
from gcvideo.analysis.measure import STATISTICS, measure
from gcvideo.analysis.naming import choose, family_of, short_names
from gcvideo.analysis.pairs import cosine_distances, jensen_shannon
from gcvideo.analysis.plots import unusual_classes
from gcvideo.analysis.query_independence import LabelledClip, analyse
from gcvideo.analysis.results import Analysis, as_csv, as_plain, as_text
from gcvideo.blocks import ContextBlock3d, NonLocalBlock3d, SqueezeExcitation3d
from gcvideo.errors import UsageError
from gcvideo.insertion import insert


def awake(block):
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block.eval()


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("mode", ("embedded_gaussian", "gaussian", "dot_product", "concatenation"))
@pytest.mark.parametrize("max_weights", (1, 10**6), ids=("in parts", "at once"))
def test_a_non_local_block_is_measured_as_its_whole_matrix(mode, max_weights, monkeypatch):
    monkeypatch.setattr(measuring, "_MAX_WEIGHTS", max_weights)  # 1: the maps of one place at a time
    block, x = awake(NonLocalBlock3d(6, mode=mode)), torch.randn(1, 6, 3, 4, 4)
    with torch.no_grad():
        measured = measure(block, x, block(x), 1000, generator())
        maps = block.attention(x)[0].flatten(1).unflatten(0, (3, 16))  # [T, S, M]
        out = (block(x) - x)[0].flatten(2).permute(1, 2, 0)
    found = measured.values
    expected = {"cos_attention": cosine_distances(maps), "cos_output": cosine_distances(out)}
    if "gaussian" in mode:
        expected["jsd_attention"] = jensen_shannon(maps)
        entropies = torch.special.entr(maps).sum(dim=2)
        assert found["entropy"] == pytest.approx(float(entropies.mean()) / math.log(12), abs=1e-6)
        torch.testing.assert_close(measured.attended.flatten(), maps.double().mean(dim=(0, 1)), atol=1e-6, rtol=0)
    else:
        assert measured.attended is None
        assert not {"jsd_attention", "entropy"} & found.keys()
    for name, means in expected.items():
        values = [found[name + kind] for kind in ("", "_other_frame", "_other_place", "_other_both")]
        assert values == pytest.approx(list(means), abs=1e-6)
    assert (measured.positions, measured.keys, measured.is_sampled) == ((3, 4, 4), (3, 2, 2), False)
    assert found.keys() <= set(STATISTICS)


def test_the_divergence_of_some_queries_is_near_that_of_all():
    block, x = awake(NonLocalBlock3d(6)), torch.randn(1, 6, 6, 8, 8)
    with torch.no_grad():
        exact = measure(block, x, block(x), 1000, generator())
        sampled = measure(block, x, block(x), 64, generator())
    assert (exact.is_sampled, sampled.is_sampled) == (False, True)
    assert sampled.values["jsd_attention"] == pytest.approx(exact.values["jsd_attention"], rel=0.2)
    assert sampled.values["cos_attention"] == exact.values["cos_attention"]  # in closed form: always of all


@pytest.mark.parametrize(("t", "h", "w", "queries"), ((1, 4, 4, 3), (20, 1, 1, 4), (16, 14, 14, 1), (9, 8, 8, 100)))
def test_any_number_of_queries(t, h, w, queries):
    frames, places = measuring._sample(t, h * w, queries, generator())
    assert len(frames) <= t
    assert len(places) <= h * w
    assert len(set(frames.tolist())) == len(frames) >= 1
    assert len(frames) * len(places) <= max(queries, 2)


def test_a_context_block_has_one_map_and_one_output():
    block, x = awake(ContextBlock3d(8)), torch.randn(1, 8, 3, 4, 5)
    with torch.no_grad():
        measured = measure(block, x, block(x), 10, generator())
    assert measured.values["cos_output"] == pytest.approx(0, abs=1e-9)
    weights = block.attention(x).detach().double()
    entropy = -(weights * weights.log()).sum()
    assert measured.values["effective_positions"] == pytest.approx(float(entropy.exp()), rel=1e-6)
    torch.testing.assert_close(measured.attended, weights[0, 0])
    assert "cos_attention" not in measured.values


def test_average_pooling_is_uniform():
    block, x = SqueezeExcitation3d(16).eval(), torch.randn(1, 16, 2, 3, 4)
    with torch.no_grad():
        values = measure(block, x, block(x), 10, generator()).values
    assert values["entropy"] == pytest.approx(1)
    assert values["effective_positions"] == pytest.approx(24)


@pytest.fixture(scope="module")
def analysed():
    torch.manual_seed(0)
    net = create_model("slowonly_tiny", "nl_all", num_classes=3).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    clips = [LabelledClip(torch.randn(1, 3, 4, 32, 32), label) for label in (0, 2, 2, -1)]
    return net, clips, analyse(net, clips, ["a", "b", "c"], num_queries=16)


def test_classes_and_their_mean(analysed):
    _, _, blocks = analysed
    assert [block.name for block in blocks] == ["res3.0", "res4.0", "res5.0"]
    for block in blocks:
        assert (block.family, block.mode) == ("NL", "embedded_gaussian")
        assert {name: summary.clips for name, summary in block.classes.items()} == {"a": 1, "c": 2}
        assert block.overall.clips == 4
        assert block.classes["a"].deviation["cos_input"] == 0
        assert sum(block.overall.in_time) == pytest.approx(1)
        assert sum(map(sum, block.overall.in_space)) == pytest.approx(1)
        assert set(unusual_classes(block)) == {"a", "c"}


def test_each_clip_counts_once_and_their_order_does_not_matter(analysed):
    net, clips, blocks = analysed
    backwards = analyse(net, clips[::-1], ["a", "b", "c"], num_queries=16)
    for block, other in zip(blocks, backwards):
        for name in ("cos_input", "cos_output_other_frame", "cos_attention", "entropy"):
            assert other.overall.mean[name] == pytest.approx(block.overall.mean[name], abs=1e-12)
    assert all(not block._forward_hooks for block in inserted_blocks(net).values())


def test_a_block_before_training_has_no_output():
    net = create_model("slowonly_tiny", "nl_all", num_classes=2).eval()
    blocks = analyse(net, [LabelledClip(torch.randn(1, 3, 4, 32, 32), 0)], ["a", "b"])
    assert "cos_output" not in blocks[0].overall.mean
    assert "cos_input" in blocks[0].overall.mean
    analysis = Analysis("m", "c", "m.csv", "val", 1, 0, (4, 32, 32), 128, 0, blocks)
    assert "NaN" not in str(as_plain(analysis))
    assert "nan" not in as_text(analysis) + as_csv(analysis)


def test_networks_without_blocks_and_no_clips_are_refused():
    with pytest.raises(UsageError, match="no blocks that attend"):
        analyse(create_model("slowonly_tiny", num_classes=2), [], ["a", "b"])
    with pytest.raises(UsageError, match="no clips"):
        analyse(create_model("slowonly_tiny", "gc_all", num_classes=2), [], ["a", "b"])


def test_short_names():
    net = create_model("slowonly_tiny", "gc_all", num_classes=2)
    names = short_names(net)
    assert list(names) == list(inserted_blocks(net))
    assert list(names.values()) == ["res3.0", "res4.0", "res5.0"]
    first = next(iter(names))
    assert choose(names, "res3.0") == choose(names, first) == first
    with pytest.raises(UsageError, match=r"no block 'res9.0'; expected one of res3.0, res4.0, res5.0"):
        choose(names, "res9.0")


def test_names_in_a_network_of_ones_own():
    net = nn.Sequential(nn.Conv3d(3, 8, 1), nn.Conv3d(8, 8, 1))
    insert(net, {"1": ContextBlock3d})
    assert short_names(net) == {"1": "1"}
    assert family_of(next(iter(inserted_blocks(net).values()))) == "GC"
    assert family_of(nn.Identity()) == "Identity"
