"""Dies by SIGKILL right before or after a boundary, and writes down what was masked and sent.

The plan is a JSON file, named by ``FEDGESTALT_CHAOS``:

    {"record": "folder", "kills": [{"role": "agent:north", "boundary": "spool", "when": "after", "nth": 2}]}

A kill fires once: its marker in ``record/fired`` outlives the process. ``nth`` counts calls within one process.
"""

import functools
import hashlib
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

PLAN = "FEDGESTALT_CHAOS"

BOUNDARIES: dict[str, tuple[str, str]] = {
    # exchange
    "append": ("fedgestalt.exchange.storage.messages", "MessageTable.append"),
    "blob": ("fedgestalt.exchange.storage.embedded", "EmbeddedStorage.put_blob"),
    "blob record": ("fedgestalt.exchange.storage.messages", "MessageTable.add_blob"),
    "tasks": ("fedgestalt.exchange.storage.tasks", "TaskTable.put_all"),
    "mark deleted": ("fedgestalt.exchange.storage.messages", "MessageTable.mark_deleted"),
    # whoever speaks with the exchange
    "post": ("fedgestalt.exchange.client", "BoardClient.post"),
    "upload": ("fedgestalt.exchange.client", "BoardClient.upload"),
    "download": ("fedgestalt.exchange.client", "BoardClient.download"),
    "fetch": ("fedgestalt.exchange.client", "BoardClient.download_to"),
    "chain": ("fedgestalt.exchange.chain", "FileChainState.advance"),
    # silo agent
    "store": ("fedgestalt.silo.store", "DiskStore.put"),
    "forget": ("fedgestalt.silo.store", "DiskStore.delete"),
    "spool": ("fedgestalt.silo.spool", "Spool.add"),
    "model": ("fedgestalt.silo.models", "ModelStore.put"),
    "spawn": ("fedgestalt.processes", "spawn"),
    # trainer and encoder
    "checkpoint": ("fedgestalt.training.checkpoint", "save_checkpoint"),
    "connect": ("fedgestalt.training.link", "AgentLink.resume"),
    "aggregate": ("fedgestalt.training.link", "AgentLink.aggregate"),
    "rows": ("fedgestalt.training.link", "AgentLink.rows"),
    # hub's loop and its jobs
    "put tasks": ("fedgestalt.exchange.link_client", "LinkClient.put_tasks"),
    "create job": ("fedgestalt.local.jobs", "JobRunner.create"),
    "settle job": ("fedgestalt.local.jobs", "JobRunner._settle"),
    "delete blob": ("fedgestalt.exchange.client", "BoardClient.delete_blob"),
    "result": ("fedgestalt.jobs.context", "JobContext.finish"),
}
"""Name -> module and function. ``start``, known to every role, is the interpreter's own start."""


def role_of(argv: Sequence[str]) -> str:
    """What a process is, by its command line; empty for the launcher and for strangers."""
    words = list(argv)
    if "fedgestalt.launch" in words:
        return ""
    if "fedgestalt.cli.main" in words:
        command = words[words.index("fedgestalt.cli.main") + 1 :]
        if command[:2] == ["exchange", "serve"]:
            return "exchange"
        if command[:2] == ["silo", "agent"]:
            return f"agent:{Path(words[-1]).parent.name}"
        if command[:1] == ["job"]:
            return f"job:{command[1]}"
    if "--task" in words:
        file = Path(words[-1])  # silos/<name>/work/<round>/train/train.json
        role = {"train": "trainer", "encode": "encoder"}.get(words[-3], "")
        return f"{role}:{file.parents[3].name}" if "silos" in file.parts else role
    return "driver" if "--driver" in words else ""


class Armed:
    """The plan as it concerns this process."""

    def __init__(self, plan: dict[str, Any], role: str) -> None:
        self.role, self.record = role, Path(plan["record"])
        self._fired = self.record / "fired"
        self._kills = [(kill, self._fired / name_of(kill)) for kill in plan["kills"] if kill["role"] == role]
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def boundaries(self) -> set[str]:
        return {kill["boundary"] for kill, _ in self._kills}

    def reach(self, boundary: str, when: str) -> None:
        """Die here if the plan says so."""
        with self._lock:
            count = self._counts[boundary, when] = self._counts.get((boundary, when), 0) + 1
            for kill, marker in self._kills:
                if (kill["boundary"], kill["when"], kill["nth"]) != (boundary, when, count):
                    continue
                try:
                    marker.open("x").close()
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, boundary: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **named: Any) -> Any:
            self.reach(boundary, "before")
            result = function(*args, **named)
            self.reach(boundary, "after")
            return result

        return wrapped

    def write_line(self, file: str, content: dict[str, Any]) -> None:
        """Append a line of JSON that survives this process (not the machine)."""
        path = self.record / file
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, json.dumps(content).encode() + b"\n")
        finally:
            os.close(descriptor)


def name_of(kill: dict[str, Any]) -> str:
    """The name of a kill's marker."""
    words = f"{kill['role']} {kill['when']} {kill['boundary']} {kill['nth']}"
    return words.replace(" ", "-").replace(":", "-")


def arm() -> None:
    """Read the plan and wrap what it names in modules that are still to be imported."""
    plan = json.loads(Path(os.environ[PLAN]).read_text())
    armed = Armed(plan, role_of(sys.orig_argv))
    patches: dict[str, list[Callable[[ModuleType], None]]] = {"fedgestalt.processes": [pass_on]}
    for boundary in armed.boundaries() - {"start"}:
        module, path = BOUNDARIES[boundary]
        patches.setdefault(module, []).append(
            functools.partial(replace, path, functools.partial(armed.wrap, boundary))
        )
    if armed.role == "exchange":
        patches.setdefault("fedgestalt.exchange.storage.embedded", []).append(
            functools.partial(record_traffic, armed)
        )
    if armed.role.startswith("agent:"):
        patches.setdefault("fedgestalt.secagg.vector", []).append(functools.partial(record_masks, armed))
    sys.meta_path.insert(0, Finder(patches))
    armed.reach("start", "before")


class Finder(importlib.abc.MetaPathFinder):
    """Applies patches to modules right after they were executed, before anyone takes names from them."""

    def __init__(self, patches: dict[str, list[Callable[[ModuleType], None]]]) -> None:
        self._patches = dict(patches)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._patches:
            return None
        patches = self._patches.pop(name)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def execute(module: ModuleType) -> None:
            load(module)
            for patch in patches:
                patch(module)

        spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec


def replace(
    path: str, change: Callable[[Callable[..., Any]], Callable[..., Any]], module: ModuleType
) -> None:
    """Put ``change(f)`` where ``module`` has the function ``f`` at ``path``."""
    *owners, name = path.split(".")
    owner: Any = module
    for part in owners:
        owner = getattr(owner, part)
    setattr(owner, name, change(getattr(owner, name)))


def pass_on(module: ModuleType) -> None:
    """Children of children are armed as well."""
    module._INHERITED = (*module._INHERITED, "PYTHONPATH", PLAN)  # type: ignore[attr-defined]


def record_traffic(armed: Armed, module: ModuleType) -> None:
    """Every envelope and every byte of a blob that reaches the exchange, whether it is accepted or not."""
    storage = module.EmbeddedStorage
    append, write_chunk, put_blob = storage.append, storage.write_chunk, storage.put_blob

    def recorded_append(self: Any, message: Any, *, now: int) -> Any:
        content = {"sender": message.sender, "slot": message.slot, "envelope": message.data.hex()}
        armed.write_line("messages.jsonl", content)
        return append(self, message, now=now)

    def keep(digest: str, owner: str, offset: int, data: bytes) -> None:
        path = armed.record / "blobs" / owner / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, data, offset)
        finally:
            os.close(descriptor)
        armed.write_line("chunks.jsonl", {"owner": owner, "digest": digest, "bytes": len(data)})

    def recorded_chunk(self: Any, round_uid: str, digest: str, owner: str, offset: int, data: bytes) -> Any:
        keep(digest, owner, offset, data)
        return write_chunk(self, round_uid, digest, owner, offset, data)

    def recorded_blob(self: Any, round_uid: str, digest: str, owner: str, data: bytes) -> Any:
        keep(digest, owner, 0, data)
        return put_blob(self, round_uid, digest, owner, data)

    storage.append, storage.write_chunk, storage.put_blob = recorded_append, recorded_chunk, recorded_blob


def record_masks(armed: Armed, module: ModuleType) -> None:
    """Which keys masked which vector, and the digest of what came out. Keys and vectors only as hashes."""
    masked = module.masked

    def recorded(vector: Any, run_key: bytes, ctx: bytes, masks: Any) -> bytes:
        used = list(masks)
        data: bytes = masked(vector, run_key, ctx, used)
        content = {
            "vector": hashlib.sha256(vector.tobytes()).hexdigest(),
            "keys": [hashlib.sha256(b"chaos" + mask.key).hexdigest() for mask in used],
            "digest": hashlib.sha256(data).hexdigest(),
        }
        armed.write_line(f"masks/{armed.role.partition(':')[2]}.jsonl", content)
        return data

    module.masked = recorded  # type: ignore[attr-defined]
