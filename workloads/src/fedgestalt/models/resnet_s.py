"""A small residual network of plain 3x3 convolutions for machines without a GPU.

On a CPU dense 3x3 convolutions over few channels outrun depthwise ones of equal size, and ReLU outruns PReLU.
The head is MobileFaceNet's global depthwise convolution (arXiv 1804.07573, section 3.1), which keeps where in
the face a feature was seen, unlike an average. 0.42 M parameters at the default width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fedgestalt.models.extractor import IMAGE_SIZE, Extractor, initialise_convolutions

# Torch 2.13 on x86 corrupts memory when it trains narrower convolutions with channels last.
_MIN_WIDTH = 16


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, arXiv 1512.03385, figure 5 left)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))
        return out


class ResNetS(Extractor):
    """Stem at stride 2, then one stage per further width, each halving the resolution: 112 -> 56 -> 28 -> 14
    -> 7."""

    def __init__(
        self,
        embedding_dim: int = 256,
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: Sequence[int] = (1, 2, 1),
    ) -> None:
        super().__init__(embedding_dim)
        if len(blocks) != len(widths) - 1:
            raise ValueError(f"{len(widths)} widths need {len(widths) - 1} block counts, not {len(blocks)}")
        if min(widths) < _MIN_WIDTH:
            raise ValueError(f"widths must be at least {_MIN_WIDTH}, not {list(widths)}")
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        stages: list[nn.Module] = []
        for channels_in, channels_out, count in zip(widths, widths[1:], blocks, strict=False):
            stages += [
                BasicBlock(channels_in if i == 0 else channels_out, channels_out, stride=2 if i == 0 else 1)
                for i in range(count)
            ]
        self.stages = nn.Sequential(*stages)
        final, grid = widths[-1], IMAGE_SIZE >> len(widths)
        self.pool = nn.Sequential(
            nn.Conv2d(final, final, grid, groups=final, bias=False), nn.BatchNorm2d(final), nn.Flatten()
        )
        self.project = nn.Sequential(
            nn.Linear(final, embedding_dim, bias=False), nn.BatchNorm1d(embedding_dim)
        )
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.project(self.pool(self.stages(self.stem(images))))
        return out
