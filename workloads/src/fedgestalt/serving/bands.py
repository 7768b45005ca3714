BANDS = ("very near", "near", "fair", "far")


def band_of(cosine: float) -> str:
    return BANDS[sum(cosine < limit for limit in (0.8, 0.6, 0.4))]
