"""The ensemble: several extractors, four views of each photo, one unit embedding.

Each member sees a photo as it is and mirrored, in colour and in grey. Every such encoding is brought to unit
length; the embedding is their concatenation divided by the root of their number, so it has unit length too,
and the inner product of two embeddings is the mean cosine over all encodings (GestaltMatcher-Arc ranks by
that mean).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedgestalt.models.extractor import IMAGE_SIZE, Extractor, normalise

VIEWS: tuple[str, ...] = ("plain colour", "plain grey", "flipped colour", "flipped grey")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Member:
    """One network of the ensemble, by the name that the round gives it."""

    name: str
    extractor: Extractor


class Ensemble:
    """Members in a fixed order; encodings run over member, then flip, then grey."""

    def __init__(self, members: Sequence[Member]) -> None:
        names = [member.name for member in members]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"an ensemble needs members with distinct names, not {names}")
        self.members = tuple(members)

    @property
    def encoding_names(self) -> tuple[str, ...]:
        """``member/view`` of every encoding, in the order of the embedding."""
        return tuple(f"{member.name}/{view}" for member in self.members for view in VIEWS)

    @property
    def encoding_dims(self) -> tuple[int, ...]:
        """Width of every encoding, in the same order."""
        return tuple(member.extractor.embedding_dim for member in self.members for _ in VIEWS)

    @property
    def embedding_dim(self) -> int:
        """Width of the embedding: the sum of 4 d_m over the members."""
        return sum(self.encoding_dims)

    def encode(
        self, images: NDArray[np.uint8], batch: int = 64, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Unit embeddings, float64 ``[N, embedding_dim]``, of aligned RGB crops, uint8 ``[N, 112, 112, 3]``.

        Args:
            images: the crops.
            batch: photos per forward pass; results do not depend on it beyond rounding in the last float32
            bits.
            progress: called with (photos done, photos in all) after each batch.

        Raises:
            ValueError: wrong shape or dtype, or a network that answers with zeros, infinities or NaNs.
        """
        encodings = self.encodings(images, batch, progress)
        if not len(images):
            return np.zeros((0, self.embedding_dim))
        embeddings: NDArray[np.float64] = np.concatenate(encodings, axis=1) / np.sqrt(len(encodings))
        return embeddings

    def encodings(
        self, images: NDArray[np.uint8], batch: int = 64, progress: Progress | None = None
    ) -> list[NDArray[np.float64]]:
        """The single unit encodings, each float64 ``[N, d]``, in the order of ``encoding_names``."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            wanted = f"uint8 [N, {IMAGE_SIZE}, {IMAGE_SIZE}, 3]"
            raise ValueError(f"aligned crops must be {wanted}, not {images.dtype} {list(images.shape)}")
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        out = [np.empty((len(images), dim)) for dim in self.encoding_dims]
        modes = [member.extractor.training for member in self.members]
        try:
            for member in self.members:
                member.extractor.eval()
            with torch.inference_mode():
                for start in range(0, len(images), batch):
                    stop = min(start + batch, len(images))
                    views = [normalise(view) for view in _views(images[start:stop])]
                    for i, encoding in enumerate(self._encode_views(views)):
                        out[i][start:stop] = encoding
                    if progress is not None:
                        progress(stop, len(images))
        finally:
            for member, mode in zip(self.members, modes, strict=True):
                member.extractor.train(mode)
        return out

    def _encode_views(self, views: Sequence[Tensor]) -> list[NDArray[np.float64]]:
        encodings = []
        for member in self.members:
            device = next(member.extractor.parameters()).device
            for view in views:
                raw = member.extractor(view.to(device)).double().cpu().numpy()
                encodings.append(_unit_rows(raw, member.name))
        return encodings


def _views(images: NDArray[np.uint8]) -> list[Tensor]:
    """The four views in the order of ``VIEWS``, uint8 ``[N, 3, 112, 112]``, channels last in memory."""
    colour = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    # BT.601 luma in integers, so that the grey view is the same on every machine.
    luma = (torch.tensor([299, 587, 114]).view(1, 3, 1, 1) * colour.long()).sum(1, keepdim=True)
    grey = luma.add(500).div(1000, rounding_mode="floor").to(torch.uint8).expand_as(colour)
    views = [colour, grey, colour.flip(3), grey.flip(3)]
    return [view.contiguous(memory_format=torch.channels_last) for view in views]


def _unit_rows(raw: NDArray[np.float64], member: str) -> NDArray[np.float64]:
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError(
            f"member {member!r} gave an encoding that has no direction (zero, infinite or NaN): "
            "its weights are damaged or were never trained; load them again"
        )
    unit: NDArray[np.float64] = raw / lengths
    return unit
