"""Cohorts, partitions and the synthetic cohort generator."""
