"""What `fedgestalt doctor` looks at: each check returns findings and never raises for what it finds."""

from __future__ import annotations

import os
import re
import resource
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Final, Literal
from urllib.request import getproxies, proxy_bypass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedgestalt.processes import available_cores

Level = Literal["ok", "warning", "problem"]
_GIB: Final = 2**30
#: sockaddr_un.sun_path is 108 bytes with its final zero (unix(7)).
_SOCKET_PATH: Final = 107
#: Room for "/<silo>/<socket>" below the working folder.
_SOCKET_TAIL: Final = 40


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it stands, what was seen, how to mend it ("" if there is nothing to mend)."""

    check: str
    level: Level
    what: str
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as plain text by field."""
        return asdict(self)


def python_version(_: Path) -> Iterator[Finding]:
    """Python must be 3.11 or newer."""
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python",
        "ok" if good else "problem",
        f"Python {found}",
        "" if good else "Install Python 3.11 or newer.",
    )


def packages(_: Path) -> Iterator[Finding]:
    """Every requirement of the core and of each extra is installed, by its metadata: nothing heavy is imported."""
    try:
        listed, extras = requires("fedgestalt") or [], metadata("fedgestalt").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        yield Finding("packages", "problem", "fedgestalt itself is not installed", "Run `make setup`.")
        return
    for extra in ("", *extras):
        present, absent = [], []
        for requirement in listed:
            marker = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
            if (marker.group(1) if marker else "") != extra:
                continue
            name = re.split(r"[\s\[<>=!~;(]", requirement, maxsplit=1)[0]
            try:
                present.append(f"{name} {version(name)}")
            except PackageNotFoundError:
                absent.append(name)
        where = f"packages, {extra or 'core'}"
        if absent:
            # Only the core stops everything: a hub needs no training stack, a user no developer tools.
            target = f"fedgestalt[{extra}]" if extra else "fedgestalt"
            level: Level = "warning" if extra else "problem"
            yield Finding(
                where, level, f"missing: {', '.join(absent)}", f"Run `make setup` or pip install '{target}'."
            )
        else:
            yield Finding(where, "ok", ", ".join(present))


def cores(_: Path) -> Iterator[Finding]:
    """Two cores carry the demo in its stated time."""
    count = available_cores()
    quota = _cpu_quota()
    usable = min(float(count), quota) if quota else float(count)
    good = usable >= 2
    mend = "" if good else "Use two cores or more; the demo takes about twice as long on one."
    yield Finding("cores", "ok" if good else "warning", f"{usable:g} usable", mend)


def memory(_: Path) -> Iterator[Finding]:
    """The demo needs up to 8 GiB in its default form; the group's limit counts as well as the machine."""
    available = _available_memory()
    if available is None:
        yield Finding(
            "memory", "warning", "unknown: there is no /proc/meminfo", "Make sure that 8 GiB are free."
        )
        return
    level: Level = "ok" if available >= 8 * _GIB else "warning" if available >= 3 * _GIB else "problem"
    mend = "" if level == "ok" else "Free memory or raise the container's limit; `--tier tiny` needs least."
    yield Finding("memory", level, f"{available / _GIB:.1f} GiB available", mend)


def file_descriptors(_: Path) -> Iterator[Finding]:
    """Ray and four silos hold a few thousand open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    good = soft == resource.RLIM_INFINITY or soft >= 4096
    mend = "" if good else f"Run `ulimit -n 4096` first (the hard limit here is {hard})."
    yield Finding("open files", "ok" if good else "warning", f"at most {soft}", mend)


def shared_memory(_: Path) -> Iterator[Finding]:
    """Ray keeps its object store in /dev/shm (only with real Ray workers)."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        yield Finding(
            "/dev/shm", "warning", "absent", "Mount a tmpfs there for `--workers`; the default needs none."
        )
        return
    size = shutil.disk_usage(shm).total
    good = size >= _GIB
    mend = "" if good else "For `--workers`, start the container with --shm-size=2g; the default needs none."
    yield Finding("/dev/shm", "ok" if good else "warning", f"{size / _GIB:.2f} GiB", mend)


def disk(workdir: Path) -> Iterator[Finding]:
    """Free disk in the working folder, and that a write with fsync comes back whole."""
    place = existing(workdir)
    free = shutil.disk_usage(place).free
    level: Level = "ok" if free >= 4 * _GIB else "warning" if free >= _GIB else "problem"
    mend = "" if level == "ok" else "Free some space or choose another --workdir."
    yield Finding("disk", level, f"{free / _GIB:.1f} GiB free in {place}", mend)
    probe = place / f".fedgestalt-doctor-{secrets.token_hex(4)}"
    try:
        content, start = secrets.token_bytes(1 << 20), time.monotonic()
        descriptor = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            seconds = time.monotonic() - start
            stamp = os.fstat(file.fileno()).st_mtime
            file.seek(0)
            whole = file.read() == content
    except OSError as error:
        yield Finding(
            "write", "problem", f"{place}: {error.strerror}", "Choose a --workdir that you may write to."
        )
        return
    finally:
        probe.unlink(missing_ok=True)
    if not whole:
        yield Finding(
            "write", "problem", f"{place} returns other bytes than were written", "Use another disk."
        )
        return
    slow = seconds > 1
    yield Finding(
        "write",
        "warning" if slow else "ok",
        f"1 MiB written and synced in {1000 * seconds:.0f} ms",
        "Use a local disk: every step of the protocol waits for such a sync." if slow else "",
    )
    drift = abs(time.time() - stamp)
    yield Finding(
        "clock",
        "ok" if drift < 5 and time.time() > 1.7e9 else "problem",
        f"{drift:.1f} s between this process and the file system, {time.strftime('%Y-%m-%d', time.gmtime())}",
        ""
        if drift < 5 and time.time() > 1.7e9
        else "Set the clock (NTP): grants and delegations expire by it.",
    )


def socket_path(workdir: Path) -> Iterator[Finding]:
    """Unix sockets below the working folder must fit into 107 bytes."""
    length = len(os.fsencode(workdir.absolute()))
    good = length + _SOCKET_TAIL <= _SOCKET_PATH
    mend = (
        ""
        if good
        else f"Choose a --workdir of at most {_SOCKET_PATH - _SOCKET_TAIL} bytes, for example in /tmp."
    )
    yield Finding("socket path", "ok" if good else "problem", f"{length} bytes to the working folder", mend)


def loopback(_: Path) -> Iterator[Finding]:
    """Processes of one machine talk over 127.0.0.1, which no proxy may take over."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                pass
        yield Finding("loopback", "ok", "a port on 127.0.0.1 can be opened and reached")
    except OSError as error:
        yield Finding(
            "loopback", "problem", f"127.0.0.1: {error}", "Allow local TCP connections on this machine."
        )
    if not getproxies().keys() & {"http", "https", "all"}:
        yield Finding("proxy", "ok", "none is set")
    elif all(proxy_bypass(host) for host in ("127.0.0.1", "localhost")):
        yield Finding("proxy", "ok", "one is set, and leaves the loopback alone")
    else:
        yield Finding(
            "proxy",
            "problem",
            "a proxy is set that would also take connections to this machine itself",
            "export NO_PROXY=127.0.0.1,localhost (and no_proxy likewise).",
        )


def cipher_speed(_: Path) -> Iterator[Finding]:
    """Masks are AES-256-CTR streams: without AES instructions they cost more than the training of small models."""
    encryptor = Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16))).encryptor()
    block, start, done = bytes(1 << 20), time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < 0.05 or done == 0:
        encryptor.update(block)
        done += 1
    rate = done / elapsed
    good = rate >= 400
    mend = (
        "" if good else "Use a processor with AES instructions (or pass them through to the virtual machine)."
    )
    yield Finding("aes", "ok" if good else "warning", f"AES-256-CTR at {rate:,.0f} MiB/s", mend)


CHECKS: Final[tuple[Callable[[Path], Iterator[Finding]], ...]] = (
    python_version,
    packages,
    cores,
    memory,
    disk,
    file_descriptors,
    shared_memory,
    socket_path,
    loopback,
    cipher_speed,
)


def examine(workdir: Path) -> list[Finding]:
    """Run all checks for a working folder, which need not exist yet."""
    return [finding for check in CHECKS for finding in check(workdir)]


def existing(path: Path) -> Path:
    """Return the path, or its nearest ancestor that exists and is a folder."""
    path = path.absolute()
    return path if path.is_dir() else existing(path.parent)


def _available_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(proc / "meminfo"), re.MULTILINE)
    if found is None:
        return None
    candidates = [int(found.group(1)) * 1024]
    v1 = cgroup / "memory"
    for limit, used in (
        (cgroup / "memory.max", cgroup / "memory.current"),
        (v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes"),
    ):
        most, now = _text(limit).strip(), _text(used).strip()
        if most.isdigit() and now.isdigit():
            candidates.append(max(0, int(most) - int(now)))
    return min(candidates)


def _cpu_quota(cgroup: Path = Path("/sys/fs/cgroup")) -> float | None:
    fields = _text(cgroup / "cpu.max").split()
    return int(fields[0]) / int(fields[1]) if len(fields) == 2 and fields[0].isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
