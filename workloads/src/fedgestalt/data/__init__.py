"""Cohorts, partitions and the synthetic cohort generator."""

from .cohort import SPLITS, Cohort, Photo, Role
from .errors import CohortError
from .manifest import load_cohort, write_cohort

__all__ = ["SPLITS", "Cohort", "CohortError", "Photo", "Role", "load_cohort", "write_cohort"]
