"""Extractors, heads, the ensemble and its bundle.

Importing this package imports no torch: the protocol side needs ``fedgestalt.models.digest`` only.
"""
