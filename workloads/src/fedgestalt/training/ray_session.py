"""A Ray of the silo's own for one fit: files in the silo's folder, Ray's ports on loopback only.

What is left open: the rendezvous store of torch.distributed listens on every interface while workers run; it holds
addresses, and the network policy of a site's work namespace keeps others away from it.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedgestalt.files import write_atomic

from .config import Resources

_LONGEST_FOLDER: Final = 40
"""Ray appends up to 62 bytes for its sockets, and an address takes 107."""
_OBJECT_STORE: Final = 80 << 20
"""Bytes. Ray carries the task file's path and a few numbers here; photos and models never pass through it."""


@contextmanager
def ray_session(work: Path, resources: Resources) -> Iterator[None]:
    """Start Ray for `resources.workers` > 0, and stop it at the end; without workers only confine it.

    Args:
        work: the silo's own folder; Ray's files lie in `work/ray`, temporary ones in `work/tmp` (mode 0700).
        resources: workers and threads.
    """
    work = work.resolve()
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = work / "ray"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    _keep_temporary_files(work / "tmp")
    with _short_name(folder) as name:
        os.environ["RAY_TMPDIR"] = name
        if resources.workers == 0:
            yield
            return
        # Ray listens on every interface unless it takes this machine for one where clusters cannot be made.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        _fresh_token(folder / "token")
        import ray

        plasma = folder / "plasma"
        plasma.mkdir(mode=0o700, exist_ok=True)
        try:
            ray.init(
                address="local",
                num_cpus=resources.workers * resources.threads + 1,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=_OBJECT_STORE,
                _temp_dir=name,
                _plasma_directory=str(plasma),
            )
            yield
        finally:
            ray.shutdown()
            (folder / "token").unlink(missing_ok=True)


def _fresh_token(path: Path) -> None:
    """A secret of this session for Ray's ports; Ray's own would lie in the home folder, one for all silos there."""
    write_atomic(path, secrets.token_hex(32).encode(), mode=0o600)
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
    os.environ.pop("RAY_AUTH_TOKEN", None)


def _keep_temporary_files(folder: Path) -> None:
    """Whatever libraries put into a temporary folder (torch's compiler caches, for one) stays in the silo's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # read the variable anew


@contextmanager
def _short_name(folder: Path) -> Iterator[str]:
    """A short name of a folder for Ray's own processes, valid inside the context.

    Linux's /proc names an open folder of this process for every process of this user, without a link that a
    killed trainer would leave behind.
    """
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)
