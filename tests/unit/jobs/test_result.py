"""A Job's result goes into the file that is there: in a pod it is a mount, which nothing can be renamed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedgestalt.jobs.context import JobContext


def context(result: Path) -> JobContext:
    return JobContext(None, None, "uid", 1, b"", {}, result)  # type: ignore[arg-type]


def test_the_result_is_written_into_the_mounted_file_itself(tmp_path: Path) -> None:
    result = tmp_path / "termination-log"
    result.write_text("what stood there before, and was longer than what comes now")
    inode = result.stat().st_ino
    context(result).finish({"digest": "ab"})
    assert json.loads(result.read_text()) == {"digest": "ab"}
    assert result.stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == ["termination-log"]


def test_a_result_that_would_be_cut_off_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 4096"):
        context(tmp_path / "result").finish({"much": "x" * 5000})
