"""2D ResNets for images, through the same task as the video models: an image is a clip of one frame.

torchvision's ResNet ("Deep Residual Learning", arXiv:1512.03385, stride in the 3x3 convolution); parameter names are
torchvision's, so its checkpoints load, and `load_weights` inflates what is trained here into the video models.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet


class ImageResNet(ResNet):
    """[B, 3, 1, S, S] -> logits [B, num_classes]."""

    def __init__(self, depths: Sequence[int], num_classes: int, dropout: float):
        super().__init__(Bottleneck, list(depths), num_classes)
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, Bottleneck):
                # As in the video models; torchvision's own default starts every branch at 1.
                nn.init.zeros_(module.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images; see the class.

        Raises:
            ValueError: the clips have more than one frame.
        """
        if x.ndim != 5 or x.shape[2] != 1:
            raise ValueError(f"an image model takes clips of one frame, [B, 3, 1, S, S], got shape {tuple(x.shape)}")
        x = self.maxpool(self.relu(self.bn1(self.conv1(x[:, :, 0]))))  # x[:, :, 0] is [B, 3, S, S]
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))
