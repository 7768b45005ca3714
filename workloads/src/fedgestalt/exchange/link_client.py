"""The client of what travels beside the board: tasks, presence, and the hub's view of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fedgestalt.exchange.errors import UntrustedExchangeError
from fedgestalt.exchange.link import (
    Changes,
    NewTask,
    ReleaseDocument,
    SiloPresence,
    SiloTaskDocument,
    parse_changes,
    parse_releases,
    parse_silos,
    parse_tasks,
)
from fedgestalt.exchange.registry import RegisteredSilo, parse_registry, registry_document
from fedgestalt.exchange.transport import Transport

MAX_WAIT: Final = 25.0


class LinkClient:
    """See :class:`fedgestalt.exchange.client.BoardClient`, which is made of it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    # Tasks and presence, the silo's side

    def tasks(self, wait: float = 0.0, *, after: int = 0) -> tuple[list[SiloTaskDocument], int]:
        """This silo's tasks and the list's revision; waits until the revision is not ``after`` any more."""
        wait = min(max(wait, 0.0), MAX_WAIT)
        response = self._transport.request("GET", "/tasks", params={"after": after, "wait": wait}, poll=wait)
        content = response.json()
        return parse_tasks(content), int(content["revision"])

    def put_task_status(self, task: str, status: Mapping[str, Any]) -> None:
        """Say how a task stands (a JSON object of at most 64 KiB)."""
        self._transport.request("PUT", f"/tasks/{task}/status", json=dict(status))

    def heartbeat(self, version: str = "") -> None:
        """Say that this silo is there. Any other request says so too."""
        self._transport.request("POST", "/heartbeat", json={"version": version})

    def releases(self, wait: float = 0.0, *, after: int = 0) -> tuple[list[ReleaseDocument], int]:
        """All releases that this silo may see (the hub: all) and the list's revision.

        Waits up to ``wait`` seconds (at most 25) until the revision is not ``after`` any more. 0: an empty list.
        """
        wait = min(max(wait, 0.0), MAX_WAIT)
        response = self._transport.request(
            "GET", "/releases", params={"after": after, "wait": wait}, poll=wait
        )
        return parse_releases(response.json())

    # The hub's side

    def put_release(self, name: str, spec: Mapping[str, Any]) -> None:
        """Keep a Release's spec (at most 64 KiB) for the silos that it names. Safe to repeat.

        Raises:
            ReleaseTakenError: the name stands for another release.
        """
        self._transport.request("PUT", f"/releases/{name}", json=dict(spec))

    def put_task(self, silo: str, task: str, spec: Mapping[str, Any]) -> int:
        """Give a silo a task or change its spec; returns its revision."""
        response = self._transport.request("PUT", f"/silos/{silo}/tasks/{task}", json=dict(spec))
        return int(response.json()["revision"])

    def delete_task(self, silo: str, task: str) -> None:
        """Take a task back."""
        self._transport.request("DELETE", f"/silos/{silo}/tasks/{task}")

    def rounds(self) -> frozenset[str]:
        """Uids of the rounds that have tasks.

        Raises:
            UntrustedExchangeError: malformed.
        """
        content = self._transport.request("GET", "/rounds").json()
        try:
            return frozenset(str(uid) for uid in content["rounds"])
        except (KeyError, TypeError) as error:
            raise UntrustedExchangeError("the exchange's listing of rounds is malformed") from error

    def round_tasks(self, round_uid: str) -> list[SiloTaskDocument]:
        """A round's tasks of all silos with what the silos say of them, by silo and name."""
        return parse_tasks(self._transport.request("GET", f"/rounds/{round_uid}/tasks").json())

    def put_tasks(self, round_uid: str, tasks: Sequence[NewTask]) -> None:
        """Give a round's silos their tasks, at most 256, all or none. Safe to repeat.

        Raises:
            TaskTakenError: a silo has a task of that name with another spec.
            RoundOverError: the hub has ended the round.
        """
        items = [{"silo": task.silo, "name": task.name, "spec": dict(task.spec)} for task in tasks]
        self._transport.request("PUT", f"/rounds/{round_uid}/tasks", json={"tasks": items})

    def delete_round_tasks(self, round_uid: str) -> None:
        """Take all tasks of a round back."""
        self._transport.request("DELETE", f"/rounds/{round_uid}/tasks")

    def changes(self, after: int, wait: float = 0.0) -> Changes:
        """Rounds whose board or whose tasks' status changed after revision ``after``; 0 asks for everything.

        Waits up to ``wait`` seconds (at most 25) for the first change.
        """
        wait = min(max(wait, 0.0), MAX_WAIT)
        response = self._transport.request(
            "GET", "/changes", params={"after": after, "wait": wait}, poll=wait
        )
        return parse_changes(response.json())

    def silo_tasks(self, silo: str) -> list[SiloTaskDocument]:
        """A silo's tasks with what it says of them."""
        return parse_tasks(self._transport.request("GET", f"/silos/{silo}/tasks").json())

    def put_registry(self, silos: Mapping[str, RegisteredSilo]) -> None:
        """Replace the registry of silos as a whole; whoever it does not let in is refused at the next request."""
        self._transport.request("PUT", "/registry", json=registry_document(silos))

    def registry(self) -> dict[str, RegisteredSilo]:
        """The registry as it stands.

        Raises:
            UntrustedExchangeError: malformed.
        """
        try:
            return parse_registry(self._transport.request("GET", "/registry").json())
        except ValueError as error:
            raise UntrustedExchangeError(f"the exchange's registry is malformed: {error}") from error

    def silos(self) -> list[SiloPresence]:
        """All registered silos and when they were last heard."""
        return parse_silos(self._transport.request("GET", "/silos").json())
