"""The tutorials are executed: every command runs, and what it prints is what the page shows."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "tutorials"
COMMAND_SECONDS = 900


@dataclass(frozen=True)
class Step:
    """A command and the output that the page shows, ``...`` standing for anything."""

    line: int
    command: str
    expected: str


def steps(page: Path) -> Iterator[Step]:
    """The commands of a page's console blocks."""
    inside, step = False, None
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.startswith("```"):
            inside = line == "```console"
            if step is not None:
                yield step
            step = None
        elif inside and line.startswith("$ "):
            if step is not None:
                yield step
            step = Step(number, line[2:], "")
        elif inside and step is not None:
            step = Step(step.line, step.command, f"{step.expected}{line}\n")


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    checker, running = doctest.OutputChecker(), list[subprocess.Popen[bytes]]()
    try:
        for step in steps(page):
            if step.command.endswith(" &"):
                argument = ["bash", "-c", f"exec {step.command[:-2]}"]
                with (tmp_path / f"background-{step.line}.log").open("wb") as log:
                    running.append(
                        subprocess.Popen(argument, cwd=tmp_path, env=environment, stdout=log, stderr=log)
                    )
                wait_until_it_serves(tmp_path, step.command)
                continue
            if step.command.startswith("fedgestalt run"):
                end(running)  # the round brings its own exchange
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", step.command],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_SECONDS,
                text=True,
            )
            where = f"{page.name}:{step.line}: {step.command}"
            assert done.returncode == 0, f"{where}\n{done.stdout}"
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert checker.check_output(step.expected, done.stdout, flags), f"{where}\n{done.stdout}"
    finally:
        end(running)


def wait_until_it_serves(folder: Path, command: str) -> None:
    """The page's reader waits for the line that says so; here the port tells."""
    if "--ready-file" in command:
        ready, until = folder / "serve.port", time.monotonic() + 120
        while not ready.exists():
            assert time.monotonic() < until, command
            time.sleep(0.2)
    else:
        time.sleep(5)


def end(running: list[subprocess.Popen[bytes]]) -> None:
    """End what was started in the background."""
    for process in reversed(running):
        process.terminate()
    for process in running:
        process.wait(timeout=30)
    running.clear()
