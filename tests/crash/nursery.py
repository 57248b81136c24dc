"""Starts services fast: it imports them once, and every service is a fork of it.

`python -m tests.crash.nursery` reads a line of JSON for each wish and answers with one: a service
to start (`service`, `environment`, `log`) by its pid; a pid to look after (`pid`) by how it ended,
null while it runs. A service runs as `python -m services.<name>` does, in a process and session of
its own, and dies with the nursery. A hundred starts cost a few seconds so, else minutes.
"""

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_ALSO = ("uvicorn.lifespan.on", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl")


class Nursery:
    """The nursery as its caller sees it."""

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, service: str, environment: dict[str, str], log_file: Path) -> int:
        """Start a service; return its pid."""
        asked = {"service": service, "environment": environment, "log": str(log_file)}
        return int(self._ask(asked))

    def ended(self, pid: int) -> int | None:
        """Return the exit code of a process, as `Popen.poll` gives it; None while it runs."""
        if pid not in self._codes:
            code = self._ask({"pid": pid})
            if code is None:
                return None
            self._codes[pid] = int(code)
        return self._codes[pid]

    def close(self) -> None:
        """End it, and with it whatever it has started."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(30)

    def _ask(self, wish: dict[str, Any]) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the nursery has no pipes")
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _become(service: str, environment: dict[str, str], log: str, parent: int) -> NoReturn:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    code = 1
    try:
        code = import_module(f"services.{service}.app").main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> int:
    """See the module's docstring."""
    for service in ("intake", "triage", "notify", "reporting"):
        import_module(f"services.{service}.app")
    for name in _ALSO:
        import_module(name)
    gc.freeze()
    for line in sys.stdin:
        wish = json.loads(line)
        if "pid" in wish:
            pid, status = os.waitpid(wish["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            parent = os.getpid()
            answer = os.fork()
            if answer == 0:
                _become(wish["service"], wish["environment"], wish["log"], parent)
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
