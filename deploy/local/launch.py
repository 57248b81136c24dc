"""Start, probe and end child processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.local.errors import PlatformError

_CHILD = Path(__file__).with_name("child.py")


def start(
    command: Sequence[str], log_file: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that dies with this process, writing to `log_file` (appended).

    Call it from the main thread (see `deploy.local.child`). It gets a session of its own, so that
    Ctrl-C in the terminal reaches the caller alone and the order of stopping stays the caller's.
    """
    wrapper = [sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), *command]
    with log_file.open("ab") as log:
        return subprocess.Popen(
            wrapper,
            # Never written to: on systems other than Linux its closing tells the child.
            stdin=subprocess.DEVNULL if sys.platform == "linux" else subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )


def end(processes: Sequence[subprocess.Popen[bytes]], grace_s: float) -> None:
    """SIGTERM to all, after the grace SIGKILL to those that still run; returns when all ended."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(host: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def answers_ok(url: str) -> bool:
    """Whether a GET of the URL is answered with a 2xx status within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1.0) as response:  # noqa: S310 -- our own URLs
            return bool(200 <= response.status < 300)
    except (OSError, urllib.error.HTTPError, ValueError):
        return False


def wait_until_ready(
    name: str,
    process: subprocess.Popen[bytes],
    is_ready: Callable[[], bool],
    *,
    log_file: Path,
    timeout_s: float,
) -> None:
    """Block until `is_ready`; raises PlatformError when the process ends or the time is over."""
    deadline = time.monotonic() + timeout_s
    while not is_ready():
        if process.poll() is not None:
            raise PlatformError(f"{name} ended with code {process.returncode}: see {log_file}")
        if time.monotonic() > deadline:
            raise PlatformError(f"{name} was not ready after {timeout_s:.0f} s: see {log_file}")
        time.sleep(0.05)
