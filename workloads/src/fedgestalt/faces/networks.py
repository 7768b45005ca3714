"""The three networks of MTCNN (Zhang et al. 2016, arXiv 1604.02878, figure 2): proposal, refinement, output.

Module names follow the tensor names of the vendored weights; assets/PROVENANCE.md says where those come from.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

ASSETS = Path(__file__).parent / "assets"


def _flatten(x: Tensor) -> Tensor:
    # The weights were trained on column-major feature maps: width before height before channels.
    return x.permute(0, 3, 2, 1).flatten(1)


class ProposalNet(nn.Module):
    """Fully convolutional: float32 ``[N, 3, H, W]`` to face probability and box offsets on a grid of stride
    2.

    Each cell judges a window of 12 x 12 pixels. Returns ``[N, h, w]`` and ``[N, 4, h, w]``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, ceil_mode=True)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return torch.softmax(self.conv4_1(x), 1)[:, 1], self.conv4_2(x)


class RefineNet(nn.Module):
    """Crops float32 ``[K, 3, 24, 24]`` to face probability ``[K]`` and box offsets ``[K, 4]``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool(self.prelu1(self.conv1(x)))
        x = self.pool(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_flatten(x)))
        return torch.softmax(self.dense5_1(x), 1)[:, 1], self.dense5_2(x)


class OutputNet(nn.Module):
    """Crops float32 ``[K, 3, 48, 48]`` to probability ``[K]``, box offsets ``[K, 4]`` and points ``[K, 10]``.

    The points are five x then five y, as fractions of the crop.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.prelu1 = nn.PReLU(32)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.prelu2 = nn.PReLU(64)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.prelu3 = nn.PReLU(64)
        self.conv4 = nn.Conv2d(64, 128, 2)
        self.prelu4 = nn.PReLU(128)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool3 = nn.MaxPool2d(2, ceil_mode=True)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pool(self.prelu1(self.conv1(x)))
        x = self.pool(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(_flatten(x)))
        return torch.softmax(self.dense6_1(x), 1)[:, 1], self.dense6_2(x), self.dense6_3(x)


def load_networks(folder: Path = ASSETS) -> tuple[ProposalNet, RefineNet, OutputNet]:
    """The three networks with their vendored weights, frozen and in evaluation mode."""
    networks = (ProposalNet(), RefineNet(), OutputNet())
    for network, file in zip(networks, ("pnet", "rnet", "onet"), strict=True):
        network.load_state_dict(load_file(folder / f"{file}.safetensors"))
        network.eval().requires_grad_(False)
    return networks
