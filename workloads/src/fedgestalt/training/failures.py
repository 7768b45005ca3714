"""Errors of the rooms below, as errors of this one: they know an exit code, and survive Ray's pickling."""

from collections.abc import Iterator
from contextlib import contextmanager

from fedgestalt.data import CohortError
from fedgestalt.faces import PhotoError
from fedgestalt.models.weights import InitialWeightsMissing, WeightsMismatch

from .errors import DataError, WeightsError


@contextmanager
def named_failures() -> Iterator[None]:
    """Turn what photos and weights raise into `DataError` and `WeightsError`, with the same message."""
    try:
        yield
    except (InitialWeightsMissing, WeightsMismatch) as error:
        raise WeightsError(str(error)) from error
    except (CohortError, PhotoError) as error:
        raise DataError(str(error)) from error
