"""Runs Java for a parent process and sees to it that Java is gone when the parent is, however the parent ends.

A script of the standard library alone, started by `streams.broker` as `python -I -S guard.py PLAN`, one for each node.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

#: Orders, written to the guard's standard input: end Java by SIGTERM, by SIGKILL.
TERMINATE, KILL = b"t", b"k"

_POLL_S = 0.2


def plan(commands: Sequence[Sequence[str]], remove: str | None) -> str:
    """Return the guard's argument: commands to run one after the other, a folder to remove if the parent dies."""
    return json.dumps({"commands": commands, "remove": remove})


def _guard(commands: Sequence[Sequence[str]], remove: str | None) -> None:
    """Run the commands until one fails, is ended by an order, or the parent is gone.

    The parent is gone when standard input ends, or when we have another parent than at first: a process that the parent
    forked may outlive it and hold the pipe open.
    """
    parent = os.getppid()
    for command in commands:
        java = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_guard)
        ordered = False
        while java.poll() is None:
            readable, _, _ = select.select([0], [], [], _POLL_S)
            order = os.read(0, 1) if readable else None
            if order == b"" or os.getppid() != parent:
                java.kill()
                java.wait()
                if remove is not None:
                    shutil.rmtree(remove, ignore_errors=True)
                return
            if order is not None:
                ordered = True
                java.send_signal(signal.SIGTERM if order == TERMINATE else signal.SIGKILL)
        if ordered or java.returncode != 0:
            return


def _die_with_guard() -> None:
    """Have Linux kill this process when its parent, the guard, is killed; other systems know no such thing."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    _guard(**json.loads(sys.argv[1]))
