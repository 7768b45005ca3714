"""The checks that find a mask used twice do find one."""

import numpy as np
import pytest

from fedgestalt.secagg.messages import Kind, Slot

from .sent import MaskedBlob, assert_far_apart

SHARE = 0.25
COUNT = 264
LANES = bytes(16)


def blob(t: int, seed: int, mask: np.ndarray) -> MaskedBlob:
    """A masked update of the largest size that a silo with a quarter of the weight may send."""
    most = int(SHARE * (2**31 - 5))
    update = np.random.default_rng(seed).integers(-most, most, COUNT, endpoint=True)
    slot = Slot("round", 1, "m0", t, 1, Kind.MASKED, "east")
    return MaskedBlob(slot, "", ((update + mask) % 2**32).astype("<u4").tobytes() + LANES)


def mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, COUNT)


def test_two_updates_under_one_mask_are_found() -> None:
    with pytest.raises(AssertionError, match="differ too little"):
        assert_far_apart(blob(1, 1, mask(7)), blob(2, 2, mask(7)), SHARE)


def test_the_same_update_under_one_mask_is_found() -> None:
    with pytest.raises(AssertionError, match="differ too little"):
        assert_far_apart(blob(1, 1, mask(7)), blob(2, 1, mask(7)), SHARE)


@pytest.mark.parametrize("seed", range(20))
def test_updates_under_masks_of_their_own_pass(seed: int) -> None:
    assert_far_apart(blob(1, 1, mask(seed)), blob(2, 1, mask(seed + 100)), SHARE)
