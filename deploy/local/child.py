"""Becomes another program that cannot outlive the process that started it.

Run as a script (`python -I -S child.py <parent pid> <program> <arguments…>`) between fork and exec,
so it imports little and nothing of this project.

On Linux the kernel is asked to kill this process when its parent dies, then the program takes its
place: no process more, and it holds even after a `kill -9` of the parent. The kernel counts the
parent's *thread*, so the parent must start it from its main thread. Elsewhere this process stays:
it holds the read end of a pipe as standard input, runs the program as a child, and kills it when
the pipe closes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

_PR_SET_PDEATHSIG = 1


def _become(parent: int, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit("the parent process is gone")
    os.execvp(command[0], command)  # noqa: S606 -- no shell is meant


def watch_and_run(command: list[str]) -> int:
    """Run the program until it ends or standard input closes; its exit code."""
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def kill_when_alone() -> None:
        while os.read(0, 1):
            pass
        program.kill()

    def pass_on(number: int, _frame: FrameType | None) -> None:
        program.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    threading.Thread(target=kill_when_alone, daemon=True).start()
    code = program.wait()
    return code if code >= 0 else 128 - code


def main(arguments: list[str]) -> int:
    """Never returns on Linux: the program has taken this process's place."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        _become(parent, command)
    return watch_and_run(command)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
