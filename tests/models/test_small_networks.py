"""ResNet-18 in 3D, its version that ends after res4, and group norms."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from gcvideo import create_model, fuse, load_weights
from gcvideo.errors import UsageError
from gcvideo.insertion import inserted_blocks
from gcvideo.models.norms import set_norms


@pytest.fixture(scope="module")
def image_network(tmp_path_factory):
    """torchvision's ResNet-18 with every layer awake, and its file."""
    torch.manual_seed(0)
    net = resnet18(num_classes=7).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
    file = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(net.state_dict(), file)
    return net, file


def still_clip(num_frames=4):
    return torch.randn(2, 3, 1, 64, 64).expand(-1, -1, num_frames, -1, -1)


def test_a_still_clip_gives_the_logits_of_the_image(image_network):
    net, file = image_network
    model = create_model("slowonly_r18", num_classes=7).eval()
    report = load_weights(model, file, "center")
    assert not report.new
    assert not report.ignored
    assert len(report.inflated) == 4  # the first convolution of each block of res4 and res5 sees three frames
    clip = still_clip()
    with torch.no_grad():
        expected = net(clip[:, :, 0])
        scale = expected.abs().max()
        assert (model(clip) - expected).abs().max() < 1e-5 * scale
        assert (fuse(model)(clip) - expected).abs().max() < 1e-5 * scale


def test_the_shorter_network_takes_the_stages_it_has(image_network):
    net, file = image_network
    model = create_model("slowonly_r18_res4", num_classes=3).eval()
    report = load_weights(model, file, "center")
    assert report.ignored == ["res5, which the model does not have"]
    assert report.new == ["blocks.4.proj (2 tensors)"]
    features = {}
    model.blocks[3].register_forward_hook(lambda module, inputs, output: features.update(res4=output))
    net.layer3.register_forward_hook(lambda module, inputs, output: features.update(layer3=output))
    clip = still_clip()
    with torch.no_grad():
        model(clip), net(clip[:, :, 0])
    expected = features["layer3"][:, :, None].expand_as(features["res4"])
    assert (features["res4"] - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_file_of_the_shorter_network_does_not_fill_the_longer(image_network, tmp_path):
    state = {key: value for key, value in image_network[0].state_dict().items() if not key.startswith("layer4")}
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match=r"blocks\.4\.res_blocks\.0"):
        load_weights(create_model("slowonly_r18", num_classes=7), tmp_path / "cut.pth")


def test_blocks_of_a_network_that_ends_after_res4():
    model = create_model("slowonly_r18_res4", "gc_all", 3)
    assert len(inserted_blocks(model)) == 4  # res3 and res4 have two each
    assert all(name.endswith("branch2.norm_b") for name in inserted_blocks(model))
    with pytest.raises(UsageError, match="needs blocks of res5; the network ends after res4"):
        create_model("slowonly_r18_res4", "gc", 3, at={"res5": [0]})


def test_group_norms_compute_the_same_in_training_and_evaluation_whatever_the_batch():
    torch.manual_seed(0)
    model = create_model("slowonly_tiny", "gc_all", 3, dropout=0.0, norms="group", ratio=1 / 8)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    clips = torch.randn(4, 3, 4, 32, 32)
    in_training = model.train()(clips)
    assert torch.allclose(model.eval()(clips), in_training, atol=1e-6)
    assert torch.allclose(model(clips[:1]), in_training[:1], atol=1e-5)


def test_group_norms_have_16_channels_and_keep_names_and_initial_values():
    model, plain = (
        create_model("slowonly_tiny", num_classes=3, norms="group"),
        create_model("slowonly_tiny", num_classes=3),
    )
    assert set(dict(model.named_parameters())) == set(dict(plain.named_parameters()))
    norms = [module for module in model.modules() if isinstance(module, nn.GroupNorm)]
    for norm in norms:
        assert norm.num_groups == max(norm.num_channels // 16, 1)
    small = nn.Sequential(nn.BatchNorm3d(24))
    nn.init.constant_(small[0].weight, 0.25)
    set_norms(small, "group")
    assert small[0].num_groups == 1  # 24 channels are no groups of 16
    assert small[0].weight.tolist() == [0.25] * 24
    with pytest.raises(UsageError, match="norms must be one of"):
        create_model("slowonly_tiny", norms="layer")
