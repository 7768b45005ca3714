"""``python -m fedgestalt.launch -- COMMAND``: run COMMAND so that it ends when its parent does.

A federation on one machine is a tree of processes. When its root is killed with SIGKILL nothing may go on writing
behind its back, so each child asks the kernel for a SIGTERM at its parent's death (prctl(2), PR_SET_PDEATHSIG;
Linux only; elsewhere the command simply runs).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = os.getppid()
    arguments = sys.argv[1:]
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    if not arguments:
        sys.exit("usage: python -m fedgestalt.launch -- COMMAND [ARGUMENT ...]")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the request was in place
            sys.exit(1)
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main()
