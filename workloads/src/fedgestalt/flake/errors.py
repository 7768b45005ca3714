"""Errors of the FLAKE room."""

from __future__ import annotations


class FlakeError(ValueError):
    """Input of the kernel protocol that cannot be used; the message names what, where and the fix."""
