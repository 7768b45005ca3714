"""Poisson bootstrap weights by patient, the same wherever a patient is scored.

Resampling patients with replacement gives each a multinomial number of copies; independent Poisson(1) numbers
are its limit for many patients (Chamandy et al., "Estimating uncertainty for massive data streams", 2012) and
need no knowledge of the other patients. That is what lets silos which do not know each other's patients
contribute to one bootstrap, and centralised and federated arms share theirs.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray


def _thresholds() -> NDArray[np.uint64]:
    """Return round(2^32 P(X <= j)) for X ~ Poisson(1), j = 0, 1, ... until it reaches 2^32."""
    found: list[int] = []
    total = 0.0
    for j in itertools.count():
        total += math.exp(-1.0) / math.factorial(j)
        found.append(round(2**32 * total))
        if found[-1] >= 2**32:
            return np.array(found, dtype=np.uint64)
    raise AssertionError("unreachable")


_POISSON: Final = _thresholds()


def patient_weights(seed: int, patient: str, replicates: int) -> NDArray[np.uint32]:
    """Return the patient's weight in each replicate, uint32 [replicates], Poisson(1) distributed.

    SHAKE-256 of the seed and the patient gives 32-bit words, which are looked up in the distribution's
    thresholds: integers throughout, so every machine finds the same weights.
    """
    name = patient.encode()
    message = b"fedgestalt/bootstrap/v1\0%d\0%d\0" % (seed, len(name)) + name
    words = np.frombuffer(hashlib.shake_256(message).digest(4 * replicates), dtype="<u4")
    return np.searchsorted(_POISSON, words.astype(np.uint64), side="right").astype(np.uint32)
