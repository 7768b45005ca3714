"""How alike patients of different hospitals and different syndromes are by chance, measured on the diagnosed gallery.

Two things are counted: pairs, by their cosine, and triples (of three owners and three tokens), by the smallest of
their three cosines. 2,000 rows of four owners hold half a billion such triples; they are counted exactly, by adding
pairs from the most alike downwards and counting the triangles that each pair closes.

Cosines are taken about the gallery's mean: what all faces (of one extractor) have in common says nothing, and
rotation by the frame moves mean and rows alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.gram import RESOLUTION
from fedgestalt.flake.rows import GalleryRows

#: The most gallery rows that chance is measured on, shared equally by the owners.
MOST_ROWS: Final = 2_400
#: The most pairs that are added: the far tail is all that is asked for.
_MOST_PAIRS: Final = 200_000
#: The most alike pairs or triples to which the tail's extension is fitted.
_PEAKS: Final = 100


@dataclass(frozen=True)
class Tail:
    """The upper tail of a likeness among strangers.

    Attributes:
        likeness: values, not rising, [k].
        reached: how many have reached each of them, [k].
        total: how many there are, in the tail or not.
    """

    likeness: NDArray[np.float64]
    reached: NDArray[np.int64]
    total: int

    def probability(self, likeness: float) -> float:
        """The chance of at least this likeness; above all that were counted, by the extended tail."""
        if not len(self.likeness) or likeness < self.likeness[-1]:
            return 1.0  # below what was counted
        place = int(np.searchsorted(-self.likeness, -likeness, side="right"))
        if place:
            return (1 + int(self.reached[place - 1])) / (1 + self.total)
        start, scale, reach = self._exponential()
        return min(1 / (1 + self.total), reach * float(np.exp((start - likeness) / scale)))

    def cut(self, probability: float) -> float:
        """The least likeness in the tail that has at most this chance; infinity if none can be told."""
        allowed = probability * (1 + self.total) - 1
        if not len(self.likeness):
            return np.inf
        place = int(np.searchsorted(self.reached, allowed, side="right")) if allowed >= 0 else 0
        if place == len(self.likeness):
            return float(self.likeness[-1])
        above = float(
            np.nextafter(self.likeness[place], np.inf)
        )  # just above the first that would be too many
        if allowed >= 0:
            return above
        start, scale, reach = self._exponential()
        return max(above, float(start + scale * np.log(reach / probability)))

    def _exponential(self) -> tuple[float, float, float]:
        """The tail's extension: where it starts, its scale, and the chance of reaching its start.

        Peaks over a threshold (Pickands 1975) with an exponential tail, fitted to about the hundred that are most
        alike. Cosines end at one, so their tail falls faster in the end, and the extension errs to the safe side.
        """
        enough = int(np.searchsorted(self.reached, _PEAKS))
        if enough == len(self.reached):
            return np.inf, 1.0, 1.0
        count = int(self.reached[enough])
        weights = np.diff(self.reached[: enough + 1], prepend=0)
        excess = float(weights @ (self.likeness[: enough + 1] - self.likeness[enough])) / count
        return float(self.likeness[enough]), max(excess, 1e-12), (1 + count) / (1 + self.total)


@dataclass(frozen=True)
class Chance:
    """What was measured.

    Attributes:
        centre: the mean of the rows, [width]; None if there are none.
        pairs: of rows of two owners and two tokens.
        triples: of rows of three owners and three tokens.
    """

    centre: NDArray[np.float64] | None
    pairs: Tail
    triples: Tail

    @classmethod
    def measure(cls, gallery: Mapping[str, GalleryRows], most_pairs: int = _MOST_PAIRS) -> Self:
        """Measure chance on the rows of all owners.

        Of an owner with more than its share of `MOST_ROWS` the rows with the smallest handles count. Handles are
        keyed, so that is a random choice, and the same one whatever the order of the rows.

        Raises:
            FlakeError: rows of different widths.
        """
        owners = sorted(owner for owner, part in gallery.items() if len(part.rows))
        if not owners:
            nothing = Tail(np.empty(0), np.empty(0, dtype=np.int64), 0)
            return cls(None, nothing, nothing)
        if len({gallery[name].rows.shape[1] for name in owners}) > 1:
            raise FlakeError("the owners' gallery rows differ in width; they must be masked by one frame")
        parts = [_chosen(gallery[name], MOST_ROWS // len(owners)) for name in owners]
        rows = np.concatenate([part[0] for part in parts])
        _, token = np.unique(np.concatenate([part[1] for part in parts]), axis=0, return_inverse=True)
        token, owner = token.reshape(-1), np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        strangers = (token[:, None] != token[None]) & (owner[:, None] != owner[None])
        centre = rows.mean(axis=0)
        alike = cosines(centred(rows, centre))
        _, _, values = _pairs(alike, strangers, -np.inf, most_pairs)
        total = int(np.count_nonzero(strangers)) // 2
        pairs = Tail(values, np.arange(1, len(values) + 1, dtype=np.int64), total)
        closing = list(closing_triples(alike, strangers, -np.inf, most_pairs))
        edges = strangers.astype(np.float32)
        total = round(float(np.einsum("ij,ij->", edges @ edges, edges, dtype=np.float64)) / 6)
        likeness = np.array([value for value, _ in closing], dtype=np.float64)
        return cls(centre, pairs, Tail(likeness, np.cumsum([n for _, n in closing], dtype=np.int64), total))


def centred(rows: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows about a centre, of length one again; a row that is the centre itself becomes zero."""
    moved = rows - centre
    lengths = np.sqrt(np.einsum("ij,ij->i", moved, moved))
    lengths[lengths < 1e-9] = np.inf
    result: NDArray[np.float64] = moved / lengths[:, None]
    return result


def cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products [n, n] on the kernel's grid of 2^-40, so that a rotation changes no comparison."""
    products = rows @ rows.T
    np.rint(np.multiply(products, RESOLUTION, out=products), out=products)
    products /= RESOLUTION
    return products


def closing_triples(
    alike: NDArray[np.float64], allowed: NDArray[np.bool_], cut: float, most_pairs: int | None = None
) -> Iterator[tuple[float, int]]:
    """Add allowed pairs from the most alike down to the cut; yield (likeness, triples closed) of those that close any.

    Args:
        alike: symmetric similarities [n, n].
        allowed: which pairs may be added, symmetric [n, n]; a triple needs all three.
        cut: pairs below it are not added.
        most_pairs: how many are added at most; whole groups of equal similarity are left out at the end.
    """
    joined = np.zeros(alike.shape, dtype=np.bool_)
    for i, j, value in zip(*_pairs(alike, allowed, cut, most_pairs), strict=True):
        closed = int(np.count_nonzero(joined[i] & joined[j]))
        joined[i, j] = joined[j, i] = True
        if closed:
            yield float(value), closed


def _pairs(
    alike: NDArray[np.float64], allowed: NDArray[np.bool_], cut: float, most: int | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Places and similarities of the allowed pairs, the most alike first; at most `most` without splitting a tie."""
    first, second = np.nonzero(np.triu(allowed & (alike >= cut), 1))
    values = alike[first, second]
    if most is not None and len(values) > most:
        limit = np.partition(values, len(values) - most - 1)[len(values) - most - 1]
        first, second, values = (each[values > limit] for each in (first, second, values))
    order = np.argsort(-values, kind="stable")
    return first[order], second[order], values[order]


def _chosen(part: GalleryRows, most: int) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    order = sorted(range(len(part.handles)), key=lambda i: part.handles[i].tobytes())[:most]
    return part.rows[order], part.tokens[order]
