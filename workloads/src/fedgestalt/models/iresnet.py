"""The improved residual networks of ArcFace (arXiv 1801.07698, section 3.1.2: BN-Conv-BN-PReLU-Conv-BN
blocks).

Parameter names and shapes are those of the published arcface_torch checkpoints (Glint360K, MS1MV3 and so on),
so that a user who has such a file can load it.
"""

from __future__ import annotations

from torch import Tensor, nn

from fedgestalt.models.extractor import Extractor

_DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
_WIDTHS = (64, 128, 256, 512)


class ImprovedBlock(nn.Module):
    """One residual block; the stride sits in the second convolution."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.prelu = nn.PReLU(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.bn3(self.conv2(inner)) + shortcut
        return out


class IResNet(Extractor):
    """iresnet18, 50 or 100 with a 512-d embedding by default.

    Args:
        depth: 18, 50 or 100.
        embedding_dim: width of ``fc`` and ``features``.
        dropout: probability before ``fc``.
    """

    def __init__(self, depth: int, embedding_dim: int = 512, dropout: float = 0.0) -> None:
        super().__init__(embedding_dim)
        if depth not in _DEPTHS:
            raise ValueError(f"iresnet depth must be one of {sorted(_DEPTHS)}, not {depth}")
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.prelu = nn.PReLU(_WIDTHS[0])
        channels = _WIDTHS[0]
        for number, (width, count) in enumerate(zip(_WIDTHS, _DEPTHS[depth], strict=True), start=1):
            stage = [ImprovedBlock(channels, width, stride=2)]
            stage += [ImprovedBlock(width, width, stride=1) for _ in range(count - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            channels = width
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels * 7 * 7, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        # The scale of the last normalisation is fixed at one in the published training: angles decide, not
        # lengths.
        nn.init.ones_(self.features.weight)
        self.features.weight.requires_grad = False
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(images)))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        out: Tensor = self.features(self.fc(self.dropout(self.bn2(x)).flatten(1)))
        return out
