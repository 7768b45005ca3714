"""`watch`: a round as it goes on, until it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.live import Live

from .access import Access
from .changes import changes
from .ends import Exit, outcome, over
from .follow import follow
from .screen import screen
from .times import moment

_KEPT: Final = 50


class Watched:
    """What has been seen of one round: its document and the changes since the watch began."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.document: Mapping[str, Any] | None = None
        self.transitions: list[tuple[float, str]] = []

    def take(self, document: Mapping[str, Any]) -> list[str]:
        """The lines of what is new."""
        now, before = self._now(), self.document or {}
        lines = changes(before.get("status") or {}, document.get("status") or {}, now)
        if before and before["spec"] != document["spec"]:
            lines.insert(0, "the spec was changed")
        self.document = document
        self.note(lines)
        return lines

    def note(self, lines: list[str]) -> None:
        """Remember what happened."""
        self.transitions = [*self.transitions, *((self._now(), line) for line in lines)][-_KEPT:]

    def render(self) -> RenderableType:
        """The view now: countdowns go on between changes."""
        return "" if self.document is None else screen(self.document, self.transitions, self._now())


def watch_round(access: Access, name: str, console: Console) -> Exit:
    """Show a round until it is over; a live view on a terminal, one line per change elsewhere.

    Raises:
        End: it is not there, or the cluster cannot be reached.
    """
    show = _live if console.is_terminal else _plain
    status = show(access, name, console)
    console.print(outcome(name, status), highlight=False, markup=False, soft_wrap=True)
    code = over(status)
    assert code is not None, "it is followed to its end"
    return code


def _plain(access: Access, name: str, console: Console) -> Mapping[str, Any]:
    seen = Watched(access.now)

    def say(lines: list[str]) -> None:
        now = access.now()
        for line in lines:
            text = f"{moment(now, now)}  {line}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)

    for document in follow(
        access.cluster, access.namespace, name, on_lost=lambda why: say([f"connection lost: {why}"])
    ):
        say(seen.take(document))
    return _status(seen)


def _live(access: Access, name: str, console: Console) -> Mapping[str, Any]:
    seen = Watched(access.now)
    documents = follow(
        access.cluster, access.namespace, name, on_lost=lambda why: seen.note([f"connection lost: {why}"])
    )
    with Live(get_renderable=seen.render, console=console, refresh_per_second=2) as live:
        for document in documents:
            seen.take(document)
            live.refresh()
    return _status(seen)


def _status(seen: Watched) -> Mapping[str, Any]:
    assert seen.document is not None, "follow yields at least once"
    status: Mapping[str, Any] = seen.document["status"]
    return status
