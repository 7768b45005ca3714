"""SFace (Zhong et al. 2021, arXiv 2205.12010) as published in the OpenCV Zoo: MobileNetV1 and a 128-d
embedding.

The architecture is read off the published graph. Weights are not shipped; ``fedgestalt.models.sface_onnx``
converts the Apache-2.0 file that a user has.
"""

from __future__ import annotations

from torch import Tensor, nn

from fedgestalt.models.extractor import Extractor, initialise_convolutions

_FRONT_EPS = 1e-3
_HEAD_EPS = 2e-5
# channels out, stride of the thirteen depthwise-separable layers
_SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
# The published network subtracts 127.5 and divides by 128; our images are already x / 127.5 - 1.
_RESCALE = 127.5 / 128.0


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out, eps=_FRONT_EPS),
        nn.PReLU(channels_out),
    )


class SFace(Extractor):
    """9.6 M parameters, of which 6.4 M in the last linear layer."""

    def __init__(self) -> None:
        super().__init__(128)
        layers: list[nn.Module] = [_conv(3, 32, 3, 1)]
        channels = 32
        for width, stride in _SEPARABLE:
            layers += [_conv(channels, channels, 3, stride, groups=channels), _conv(channels, width, 1, 1)]
            channels = width
        self.front = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(channels, eps=_HEAD_EPS)
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(channels * 7 * 7, 128)
        self.features = nn.BatchNorm1d(128, eps=_HEAD_EPS)
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.dropout(self.bn(self.front(images * _RESCALE)))
        out: Tensor = self.features(self.fc(x.flatten(1)))
        return out
