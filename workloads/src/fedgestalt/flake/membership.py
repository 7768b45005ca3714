"""In which numbered splits a photo is in the gallery and in which it is a test.

Evaluation follows GestaltMatcher's protocol: photos of syndromes trained on have a fixed role, photos of rare
syndromes change sides from one numbered split 1..S to the next. A set of splits is a bitmap, bit s - 1 for
split s, so that one uploaded row serves every split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.errors import FlakeError

MAX_SPLITS: Final = 32

Role = Literal["train", "test", "rotating", "undiagnosed"]
ROLES: Final[tuple[str, ...]] = get_args(Role)


class Membership(NamedTuple):
    """Bitmaps of the splits, uint32 [n] each."""

    gallery: NDArray[np.uint32]
    test: NDArray[np.uint32]


def every_split(splits: int) -> int:
    """Return the bitmap of all splits 1..`splits`.

    Raises:
        FlakeError: a number of splits outside 1..32.
    """
    if not 1 <= splits <= MAX_SPLITS:
        raise FlakeError(f"the number of splits must lie in 1..{MAX_SPLITS}, not {splits}")
    return (1 << splits) - 1


def membership(roles: Sequence[str], test_splits: Sequence[Sequence[int]], splits: int) -> Membership:
    """Return the gallery and test bitmaps of photos.

    Args:
        roles: train (gallery in every split), test (test in every split), rotating (test in the listed
            splits, gallery in the others) or undiagnosed (neither), one per photo.
        test_splits: for rotating photos the numbers 1..`splits` in which they are tests; else empty.
        splits: how many numbered splits there are.

    Raises:
        FlakeError: an unknown role, a split out of range, or split numbers beside a fixed role.
    """
    everything = every_split(splits)
    if len(roles) != len(test_splits):
        raise FlakeError(f"{len(roles)} roles but {len(test_splits)} lists of test splits")
    gallery = np.zeros(len(roles), dtype=np.uint32)
    test = np.zeros(len(roles), dtype=np.uint32)
    for i, (role, numbers) in enumerate(zip(roles, test_splits, strict=True)):
        if role not in ROLES:
            raise FlakeError(f"photo {i}: unknown role {role!r}; use one of {', '.join(ROLES)}")
        if numbers and role != "rotating":
            raise FlakeError(f"photo {i}: only rotating photos have test splits, this one is {role}")
        bits = 0
        for number in numbers:
            if not 1 <= number <= splits:
                raise FlakeError(f"photo {i}: test split {number} is not one of 1..{splits}")
            bits |= 1 << (number - 1)
        match cast(Role, role):
            case "train":
                gallery[i] = everything
            case "test":
                test[i] = everything
            case "rotating":
                test[i] = bits
                gallery[i] = everything & ~bits
            case "undiagnosed":
                pass
    return Membership(gallery, test)
