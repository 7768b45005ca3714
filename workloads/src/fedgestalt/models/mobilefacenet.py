"""MobileFaceNet (Chen et al. 2018, arXiv 1804.07573, table 1), with a 512-d embedding by default."""

from __future__ import annotations

from torch import Tensor, nn

from fedgestalt.models.extractor import Extractor, initialise_convolutions

# expansion, channels, repeats, stride of the first: the bottleneck rows of table 1
_BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def _conv(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Sequential:
    """Convolution and batch normalisation, linear."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class InvertedBottleneck(nn.Module):
    """MobileNetV2's block (arXiv 1801.04381, figure 3) with PReLU: widen, depthwise, narrow linearly."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.residual = stride == 1 and channels_in == channels_out
        self.layers = nn.Sequential(
            _conv(channels_in, inner, 1),
            nn.PReLU(inner),
            _conv(inner, inner, 3, stride, padding=1, groups=inner),
            nn.PReLU(inner),
            _conv(inner, channels_out, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.residual else out


class MobileFaceNet(Extractor):
    """1.2 M parameters at 512-d."""

    def __init__(self, embedding_dim: int = 512) -> None:
        super().__init__(embedding_dim)
        layers: list[nn.Module] = [
            _conv(3, 64, 3, stride=2, padding=1),
            nn.PReLU(64),
            _conv(64, 64, 3, padding=1, groups=64),
            nn.PReLU(64),
        ]
        channels = 64
        for expansion, width, repeats, stride in _BOTTLENECKS:
            for i in range(repeats):
                layers.append(InvertedBottleneck(channels, width, expansion, stride if i == 0 else 1))
                channels = width
        layers += [
            _conv(channels, 512, 1),
            nn.PReLU(512),
            _conv(512, 512, 7, groups=512),
            _conv(512, embedding_dim, 1),
        ]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.layers(images)
        return out
