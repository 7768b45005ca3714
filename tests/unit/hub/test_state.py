"""A state folder belongs to one namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedgestalt_operator.hub.state import StateTaken, claim


def test_the_same_namespace_may_come_back(tmp_path: Path) -> None:
    for _ in range(2):
        claim(tmp_path / "state", "hub")


def test_another_namespace_is_refused_with_what_to_do(tmp_path: Path) -> None:
    claim(tmp_path, "hub")
    with pytest.raises(StateTaken, match=r"namespace hub, not typo.*--namespace.*--state"):
        claim(tmp_path, "typo")
    claim(tmp_path, "hub")
