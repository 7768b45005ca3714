"""One way to compile a kernel: cached, without fast-math, so that pictures do not depend on vectorisation."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile *function* with numba, keeping IEEE semantics and its type for the checker."""
    return cast(F, njit(cache=True, nogil=True)(function))
