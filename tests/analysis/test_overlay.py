"""Pictures of attention: shapes, marks and legends, and that they show the maps of the blocks."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gcvideo.analysis.animation import gif
from gcvideo.analysis.attention import attention_maps, flat_index, position_at, spread_points
from gcvideo.analysis.clip import central_clip
from gcvideo.analysis.drawing import Panel, filmstrip, moving, over_frames
from gcvideo.analysis.overlay import attention_frames, overlay_names, panels_of
from gcvideo.data.decode import VideoDecodeError
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Views
from gcvideo.errors import UsageError
from gcvideo.training.task import VideoTask
from tests.conftest import BITS

FRAMES = torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TIMES = (0.0, 0.1, 0.2, 0.3)


def recognizer(blocks="none", **options):
    task = VideoTask(["a", "b"], "slowonly_tiny", blocks, **options).eval()
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.3)
    return SimpleNamespace(task=task, clip=Clip(4, 2), views=Views(3, 3, 32, 36), decoder="pyav")


def panel(query=None, values=None):
    return Panel(
        "res4.0 (NL)", "$bad{$", torch.rand(2, 4, 4) if values is None else values, "x uniform", 0.0, 1.0, query
    )


def test_the_central_clip_and_its_times(numbered_clip):
    path = numbered_clip(21, height=64, width=64)
    clip = central_clip(recognizer(), path)
    assert clip.frames.shape == (3, 4, 32, 32)
    # Of 21 frames, those of a clip of 4 at stride 2 in the middle: 7, 9, 11, 13, at 15 frames a second.
    assert clip.times == pytest.approx((7 / 15, 9 / 15, 11 / 15, 13 / 15))
    assert clip.unit == "s"
    assert clip.seconds_per_frame == pytest.approx(2 / 15)
    bit = BITS - 2  # the second lowest bit of 7, 9, 11, 13: white, black, white, black
    column = int((bit + 0.5) * 36 / BITS) - 2
    assert (clip.frames[0, :, 16, column] > 127).tolist() == [True, False, True, False]


def test_a_still_is_shown_for_a_while(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "image.png")
    clip = central_clip(recognizer(), tmp_path / "image.png")
    assert (clip.times, clip.seconds_per_frame) == ((0.0,) * 4, 0.2)
    assert clip._replace(times=TIMES, unit="").seconds_per_frame == 0.2  # of a file without frame rate: numbers


def test_attention_frames(numbered_clip):
    path = numbered_clip(20)
    model = recognizer("gc_all")
    every = attention_frames(model, path)
    assert every.dtype == np.uint8
    assert every.shape[0] == 4
    assert every.shape[3] == 3
    assert all(size % 2 == 0 for size in every.shape[1:3])
    assert overlay_names(model.task.net) == ["all", "res3.0", "res4.0", "res5.0", "grad_cam"]
    one = attention_frames(model, path, "res4.0")
    assert one.shape[2] < every.shape[2]
    assert not np.array_equal(one, attention_frames(model, path, "grad_cam"))
    with pytest.raises(UsageError, match="no block 'res9'"):
        attention_frames(model, path, "res9")
    with pytest.raises(VideoDecodeError, match="no such file"):
        attention_frames(model, path + "x")


def test_panels_show_the_maps_relative_to_uniform():
    net = recognizer("gc_all").task.net
    clip = torch.randn(1, 3, 4, 32, 32)
    maps = attention_maps(net, clip)
    cam, *panels = panels_of(net, clip, ["a", "b"])
    assert cam.block == "Grad-CAM"
    assert cam.detail == "ab"[int(net(clip).argmax())]
    assert cam.values.max() <= 1
    for shown, weights in zip(panels, maps.values()):
        torch.testing.assert_close(shown.values.mean(), torch.tensor(1.0))
        torch.testing.assert_close(shown.values, weights[0, 0] * weights[0, 0].numel())
        assert shown.high >= 2


def test_panels_of_non_local_blocks_are_those_of_their_queries():
    model = recognizer("nl", block={"at": {"res4": [0]}})
    net, clip = model.task.net, torch.randn(1, 3, 4, 32, 32)
    panels = panels_of(net, clip, ["a", "b"], "res4.0", num_queries=3)
    assert [shown.detail for shown in panels] == ["query 1", "query 2", "query 3"]
    assert [shown.query for shown in panels] == spread_points(3)
    assert len({shown.high for shown in panels}) == 1  # colours compare
    (weights,) = attention_maps(net, clip, 3).values()
    torch.testing.assert_close(panels[2].values, weights[0, 2] * weights[0, 2].numel())


def test_modes_without_a_distribution_show_their_weights():
    net = recognizer("nl", block={"at": {"res4": [0]}, "mode": "dot_product"}).task.net
    (shown,) = panels_of(net, torch.randn(1, 3, 4, 32, 32), ["a", "b"], "res4.0", num_queries=1)
    assert shown.unit == "weight"
    assert (shown.low, shown.high) == (float(shown.values.min()), float(shown.values.max()))


def test_without_grad_cam_there_is_a_warning_and_the_blocks():
    from gcvideo import ContextBlock3d, insert

    net = nn.Sequential(nn.Conv3d(3, 8, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    insert(net, {"0": ContextBlock3d})
    with pytest.warns(UserWarning, match="has no stages"):
        panels = panels_of(net.eval(), torch.randn(1, 3, 2, 4, 4), [str(k) for k in range(8)])
    assert [shown.block for shown in panels] == ["0 (GC)"]


def test_points_are_spread_over_frames_and_places():
    points = spread_points(6)
    assert [position_at(point, (6, 8, 8))[0] for point in points] == [0, 1, 2, 3, 4, 5]
    places = {position_at(point, (6, 8, 8))[1:] for point in points}
    assert len(places) == 6
    assert all(0 < h < 7 and 0 < w < 7 for h, w in places)
    assert flat_index((2, 3, 4), (4, 6, 8)) == 124


def test_a_map_is_spread_over_the_frames():
    values = torch.arange(4.0).view(4, 1, 1).expand(4, 2, 2)
    full = over_frames(panel(values=values), 4, 6)
    np.testing.assert_allclose(full, np.arange(4.0)[:, None, None] * np.ones((1, 6, 6)), atol=1e-6)


def test_the_query_is_marked_large_in_its_own_frame_only():
    pictures = list(moving(FRAMES, TIMES, "s", [panel((0.3, 0.5, 0.5), torch.zeros(1, 1, 1))]))
    grey = [picture.astype(int).std(axis=2) < 8 for picture in pictures]
    white = [int((picture.min(axis=2) > 245)[is_grey].sum()) for picture, is_grey in zip(pictures, grey)]
    assert len({picture.shape for picture in pictures}) == 1
    assert max(white) == white[1]


def test_a_filmstrip_is_a_png_with_a_row_for_each_panel():
    one = filmstrip(FRAMES, TIMES, "s", [panel()])
    two = filmstrip(FRAMES, TIMES, "", [panel(), panel((0.3, 0.5, 0.5))])
    assert one[:4] == two[:4] == b"\x89PNG"
    heights = [int.from_bytes(picture[20:24], "big") for picture in (one, two)]
    assert heights[1] > 1.3 * heights[0]


def test_a_gif_holds_the_pictures_and_their_time():
    pictures = [np.full((16, 16, 3), value, np.uint8) for value in (0, 128, 255)]
    image = Image.open(io.BytesIO(gif(pictures, 0.25)))
    assert (image.n_frames, image.info["duration"], image.info["loop"]) == (3, 250, 0)
    image.seek(2)
    assert np.asarray(image.convert("RGB")).min() > 250
