"""A service as a process: HTTP and background tasks in one loop, a bounded stop, honest exit codes.

Order of the stop: HTTP finishes what it has, then the application's lifespan ends, which stops the
bus and then closes the store. Exit codes: 0 stopped as asked, 1 ended because something failed.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator

import structlog
import uvicorn
from fastapi import FastAPI

from services.chassis import crash_points
from services.chassis.alarms import Alarms
from services.chassis.http import Health
from services.chassis.settings import PREFIX, ServiceSettings, refuse
from services.chassis.telemetry import configure_logging, error_fields, log_unhandled

_HTTP_DRAIN_SECONDS = 4
_LOOK_EVERY_SECONDS = 5.0
_FAILED_LOOKS = 2
_COLLECT = (20_000, 20, 500)
"""After how many new objects the young ones are collected; the older ones after how many times."""

log = structlog.get_logger()


class Background:
    """The tasks of a process that run for ever. One that ends before the stop is a failure of the
    process: a service half of which has died looks well from outside and does not work."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self.failed = asyncio.Event()
        self.failure: str | None = None

    def start(self, name: str, run: Callable[[], Awaitable[None]], *, once: bool = False) -> None:
        """Start a task under a name that stands in logs; `once`: it may end, but not fail."""
        if name in self._tasks and not self._tasks[name].done():
            raise ValueError(f"a task {name!r} runs already")
        self._tasks[name] = asyncio.create_task(self._watched(name, run, once), name=name)

    async def _watched(self, name: str, run: Callable[[], Awaitable[None]], once: bool) -> None:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 -- any end of a task ends the process
            log.critical("background task failed", task=name, alarm=True, **error_fields(error))
            self._fail(f"{name} failed: {type(error).__qualname__}")
        else:
            if not once and not self._stopping:
                log.critical("background task ended", task=name, alarm=True)
                self._fail(f"{name} ended")

    def _fail(self, what: str) -> None:
        self.failure = self.failure or what
        self.failed.set()

    async def trouble(self) -> str | None:
        """The first task that failed, or None; for liveness."""
        return self.failure

    async def stop(self, seconds: float = 5.0) -> None:
        """Cancel all tasks and wait for their ends, so long at most."""
        self._stopping = True
        running = [task for task in self._tasks.values() if not task.done()]
        for task in running:
            task.cancel()
        if running:
            _, left = await asyncio.wait(running, timeout=seconds)
            if left:
                log.warning("background tasks left", count=len(left))


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: the process stops in our order and time."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run_service(
    app: FastAPI, settings: ServiceSettings, *, health: Health, background: Background
) -> int:
    """Serve until a signal or a failure; returns the exit code for `sys.exit`.

    Logs are configured here. The application's lifespan makes the connections, starts background
    tasks, and on leaving stops them, the bus and the store.
    """
    alarms = Alarms(settings.alarm_url.get_secret_value() or None)
    configure_logging(settings.service, settings.instance, settings.log_level, also=alarms.take)
    sys.excepthook = log_unhandled
    health.must_live("background", background.trouble)
    listener = _listen(settings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(app, settings, health, background, listener, alarms))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, except on Windows, where there is none."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _listen(settings: ServiceSettings) -> socket.socket:
    """Take the port before anything else starts; one line and exit code 2 if it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        why = error.strerror or type(error).__name__
        refuse(f"{PREFIX}PORT: {settings.host}:{settings.port}: {why}; set another {PREFIX}PORT")
    return listener


async def _serve(
    app: FastAPI,
    settings: ServiceSettings,
    health: Health,
    background: Background,
    listener: socket.socket,
    alarms: Alarms,
) -> int:
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_HTTP_DRAIN_SECONDS,
            timeout_keep_alive=75,
            lifespan="on",
        )
    )
    stop = _Stop(server, settings.stop_timeout_seconds)
    stop.listen_for_signals()
    host, port = listener.getsockname()[:2]
    log.info("service starts", host=host, port=port, pid=os.getpid())
    if armed := crash_points.armed():
        log.critical("kills itself at a crash point, for tests only", setting=armed, alarm=True)
    watch = asyncio.create_task(_watch(health, background, stop))
    alarming = asyncio.create_task(alarms.run())
    _collect_rarely()
    try:
        await server.serve(sockets=[listener])
    except SystemExit:
        stop.failure = stop.failure or "the application did not start"
    finally:
        watch.cancel()
        alarming.cancel()
    if server.lifespan.shutdown_failed:
        stop.failure = stop.failure or "the application did not stop cleanly"
    if stop.failure is not None:
        log.critical("service ended by a failure", reason=stop.failure, exit_code=1, alarm=True)
        return 1
    log.info("service stopped", exit_code=0)
    return 0


def _collect_rarely() -> None:
    """Keep Python's garbage collector off the documents in memory.

    A service behind a backlog holds millions of objects that live long and form no cycles; looking
    at all of them again and again took a tenth to a third of its time, in pauses of up to a second.
    What the process began with is not looked at any more, young objects seldom, old ones hardly
    ever. Reference counts free everything that is in no cycle, as before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


class _Stop:
    """The stop of a process: asked for once, done within its time, at once if asked twice."""

    def __init__(self, server: uvicorn.Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self.asked = False
        self.failure: str | None = None

    def listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self.asked:
            log.warning("second signal, leaving at once", signal=number.name, exit_code=1)
            os._exit(1)
        log.info("service stops", signal=number.name)
        self.ask()

    def ask(self, failure: str | None = None) -> None:
        """Begin the stop, for a failure or as somebody wished."""
        self.failure = self.failure or failure
        if not self.asked:
            self.asked = True
            self._server.should_exit = True
            asyncio.get_running_loop().call_later(self._seconds, self._too_late)

    def _too_late(self) -> None:
        log.critical("stop took too long, leaving", seconds=self._seconds, exit_code=1, alarm=True)
        os._exit(1)


async def _watch(health: Health, background: Background, stop: _Stop) -> None:
    """End the process when a background task has died, or a liveness check failed twice running."""
    failed_looks = 0
    while not stop.asked:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                await background.failed.wait()
        if background.failure is not None:
            stop.ask(background.failure)
            return
        troubles = {name: what for name, what in (await health.live()).items() if what}
        failed_looks = failed_looks + 1 if troubles else 0
        for name, what in troubles.items():
            log.error("not alive", check=name, reason=what)
        if failed_looks >= _FAILED_LOOKS:
            stop.ask("; ".join(f"{name}: {what}" for name, what in troubles.items()))
            return
