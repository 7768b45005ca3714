"""Twelve lessons of other operators: each is kept by tests whose docstring begins with its number."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]

LESSONS = {
    1: "do the side effect, then fail to save it: a duplicate",
    2: "a stale cache is counted",
    3: "a retry overlaps the attempt before",
    4: "what was finished and deleted is made again",
    5: "what never starts is waited for by the wrong clock, or for ever",
    6: "two sources of truth for one fact",
    7: "the operator goes blind, and its probes stay green",
    8: "a lost link is handled at the wrong level",
    9: "finalizers wedge namespaces and uninstalls",
    10: "CRDs are not upgraded with the operator",
    11: "rights are wider than what is used",
    12: "a status that is green and lies, or says nothing",
}


def kept() -> dict[int, list[str]]:
    """Number of a lesson -> tests whose docstring says `Lesson N: ...`."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                number = re.match(r"Lesson (\d+): .{10}", ast.get_docstring(node) or "")
                if number:
                    found[int(number[1])].append(f"{path.name}::{node.name}")
    return found


def test_each_lesson_is_kept_by_a_test_that_names_it() -> None:
    assert sorted(kept()) == sorted(LESSONS)
