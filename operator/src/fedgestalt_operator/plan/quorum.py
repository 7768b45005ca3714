"""How many silos are needed."""


def threshold(n: int) -> int:
    """tau = floor(2n/3) + 1 of `n` silos in the roster: more than two thirds."""
    return 2 * n // 3 + 1


def need(n: int, min_silos: int) -> int:
    """The least number of silos with which a step of `n` goes on."""
    return max(min_silos, threshold(n))
