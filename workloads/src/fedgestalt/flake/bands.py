"""Four coarse bands in place of a similarity.

A similarity would do two things that an answer must not: with enough of them a stranger solves for a masked row,
and a very high one says that two hospitals have a photo of one person. Hence bands, and the nearest one begins
below the similarity of two photos of one person, where photos of different people still are many: to be in it
confirms nothing.

The limits are chosen on synthetic faces (SynthDysm's demo tier, four silos, two members of 1,024 numbers, cosines of
the embedding; `python tests/bench/bench_bands.py DIR` measures them in the folder of a demonstration). 24 pairs of
photos of one person: 5 % of them below 0.56, the median at 0.73. The nearest photo of somebody else in another silo:
5 % below 0.55, the median at 0.65. So 0.55 lets nearly all of both into the nearest band. The other limits divide
what follows: the median of the 10th syndrome is 0.51, of the 20th 0.46, of the 30th 0.42. They say nothing about
photos of patients: an extractor with another scale of cosines needs limits of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

#: Cosines at which bands 3, 2 and 1 begin; band 1 is the nearest, below the first limit is band 4.
LIMITS: Final = (0.35, 0.45, 0.55)
BANDS: Final = len(LIMITS) + 1


def band(cosine: float) -> int:
    """Return the band of a cosine: 1 (nearest) to 4 (farthest). A limit belongs to the nearer band."""
    return BANDS - bisect_right(LIMITS, cosine)
