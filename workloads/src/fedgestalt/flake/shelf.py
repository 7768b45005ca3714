"""One owner's rows in memory, as the query index reads them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.sketch import Sketch


class Shelf:
    """The rows of one owner in arrays that grow by half; a gap is closed with the last row.

    Only the first ``len(shelf)`` entries of the arrays count.

    Attributes:
        exact, quick: the rows in float64 and float32, [n, width].
        columns: the column of each row's token in the reduction of its user, [n].
        coordinates, rest: of the sketch, [n, size] and [n]; of size 0 without one.
        handles: of the rows, 16 bytes each.
    """

    _ARRAYS: Final = ("exact", "quick", "columns", "coordinates", "rest")

    def __init__(self, width: int, sketch: Sketch | None) -> None:
        self.exact = np.empty((0, width), dtype=np.float64)
        self.quick = np.empty((0, width), dtype=np.float32)
        self.columns = np.empty(0, dtype=np.intp)
        self.coordinates = np.empty((0, sketch.size if sketch else 0), dtype=np.float32)
        self.rest = np.empty(0, dtype=np.float32)
        self.handles: list[bytes] = []
        self._places: dict[bytes, int] = {}
        self._sketch = sketch

    def __len__(self) -> int:
        return len(self.handles)

    def put(self, rows: NDArray[np.float64], columns: NDArray[np.intp], handles: list[bytes]) -> None:
        """Add rows, in place of those of the same handle."""
        self._reserve(len(self) + sum(handle not in self._places for handle in handles))
        places = []
        for handle in handles:
            place = self._places.setdefault(handle, len(self.handles))
            if place == len(self.handles):
                self.handles.append(handle)
            places.append(place)
        self.exact[places] = rows
        self.quick[places] = rows
        self.columns[places] = columns
        if self._sketch:
            self.coordinates[places], self.rest[places] = self._sketch.project(rows)

    def sketch(self, sketch: Sketch | None) -> None:
        """Take another sketch, or none."""
        self._sketch = sketch
        room = len(self.columns)
        self.coordinates = np.zeros((room, sketch.size if sketch else 0), dtype=np.float32)
        self.rest = np.zeros(room, dtype=np.float32)
        if sketch:
            here = slice(0, len(self))
            self.coordinates[here], self.rest[here] = sketch.project(self.exact[here])

    def remove(self, handle: bytes) -> bool:
        """Forget a row; False if it was not there."""
        place = self._places.pop(handle, None)
        if place is None:
            return False
        end = len(self.handles) - 1
        last = self.handles.pop()
        if place != end:
            self.handles[place], self._places[last] = last, place
        for name in self._ARRAYS:
            array = getattr(self, name)
            array[place] = array[end]
            array[end] = 0  # a withdrawn row does not linger in memory
        return True

    def _reserve(self, size: int) -> None:
        if size <= len(self.columns):
            return
        room = max(size, len(self.columns) * 3 // 2) if len(self) else size
        for name in self._ARRAYS:
            old = getattr(self, name)
            new = np.zeros((room, *old.shape[1:]), dtype=old.dtype)
            new[: len(self)] = old[: len(self)]
            setattr(self, name, new)
