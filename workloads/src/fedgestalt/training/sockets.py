"""Unix sockets at paths of any length, in directories nobody else can enter."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUN_PATH = 100  # the kernel's limit is 108 with the terminator


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for `path` that fits into a socket address, valid inside the context.

    Working directories are often deeper than the 107 bytes of `sun_path`; Linux's /proc offers a short alias.
    """
    if len(os.fsencode(path)) <= _SUN_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path, timeout: float) -> socket.socket:
    """A connected stream socket with `timeout` seconds for every operation."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        with short_path(path) as name:
            sock.connect(name)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600, in a directory of mode 0700 that is made where missing.

    A socket left behind by a killed process is replaced; one that answers is not.

    Raises:
        PermissionError: where others may enter the directory.
        FileExistsError: where another process listens there, or the path is no socket.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.parent.stat()
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise PermissionError(f"{path.parent} must belong to this user with mode 0700: run chmod 700 on it")
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as name:
            sock.bind(name)
        path.chmod(0o600)
        sock.listen(16)
    except BaseException:
        sock.close()
        raise
    return sock


def peer_is_us(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as this user or as root."""
    size = struct.calcsize("3i")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (0, os.geteuid())


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_socket():
        raise FileExistsError(f"{path} exists and is not a socket: choose another path")
    try:
        connect(path, 1.0).close()
    except OSError:
        path.unlink(missing_ok=True)
    else:
        raise FileExistsError(f"{path}: another agent is listening; stop it first")
