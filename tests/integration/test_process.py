"""A service as a process of its own: it stops in order, in time, and says why it ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import services

ROOT = Path(next(iter(services.__path__))).parent

SERVICE = """
import asyncio, sys
from contextlib import asynccontextmanager
from services.chassis.http import Health, make_app
from services.chassis.process import Background, run_service
from services.chassis.settings import ServiceSettings, load
import services.chassis.process as process

mode = sys.argv[1]
process._LOOK_EVERY_SECONDS = 0.1
health, background = Health(), Background()
release = asyncio.Event()

@asynccontextmanager
async def lifespan(app):
    if mode == "fails-to-start":
        raise RuntimeError("a secret text")
    background.start("endless", endless)
    yield
    await background.stop()
    print("lifespan ended", flush=True)
    if mode == "hangs-at-stop":
        await asyncio.Event().wait()

async def endless():
    if mode == "not-alive":
        await asyncio.Event().wait()
    await release.wait()
    if mode == "task-fails":
        raise ValueError("a secret text")

async def alive():
    return "gone" if mode == "not-alive" and release.is_set() else None

health.must_live("example", alive)
app = make_app("example", lifespan, health=health)

@app.get("/release")
async def let_go():
    release.set()

@app.get("/slow")
async def slow():
    print("slow began", flush=True)
    await asyncio.sleep(0.8)
    return "done"

sys.exit(run_service(app, load(ServiceSettings), health=health, background=background))
"""


class Service:
    """A running example service and what it has printed."""

    def __init__(self, folder: Path, mode: str, **environment: str) -> None:
        script = folder / "service.py"
        script.write_text(SERVICE)
        self.output = folder / "output"
        kept = {name: text for name, text in os.environ.items() if not name.startswith("JIEYOU_")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(script), mode],
                env={**kept, "PYTHONPATH": str(ROOT), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def lines(self) -> list[dict[str, Any]]:
        found = [line for line in self.text.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in found]

    def until(self, condition: Callable[[], bool], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)

    def url(self) -> str:
        def address() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line["event"] == "service starts"]

        self.until(lambda: bool(address()))
        url = f"http://127.0.0.1:{address()[0]['port']}"

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/health/live").status_code == 200
            except httpx.TransportError:
                return False

        self.until(answers)
        return url

    def exit_code(self) -> int:
        return self.process.wait(15)


Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[Service] = []

    def begin(mode: str, **environment: str) -> Service:
        begun.append(Service(tmp_path, mode, **environment))
        return begun[-1]

    yield begin
    for service in begun:
        service.process.kill()
        service.process.wait()


def test_sigterm_lets_calls_finish_then_ends_the_lifespan_with_code_0(start: Start) -> None:
    service = start("well")
    url = service.url()
    with httpx.Client() as client, client.stream("GET", f"{url}/health/live") as response:
        response.read()
    call = subprocess.Popen(
        [sys.executable, "-c", f"import httpx; print(httpx.get('{url}/slow').text)"],
        stdout=subprocess.PIPE,
        text=True,
    )
    service.until(lambda: "slow began" in service.text)
    service.process.send_signal(signal.SIGTERM)
    assert call.communicate(timeout=15)[0] == '"done"\n'
    assert service.exit_code() == 0
    text = service.text
    assert text.index("/slow") < text.index("lifespan ended") < text.index("service stopped")


def test_a_stop_that_hangs_ends_within_its_time(start: Start) -> None:
    service = start("hangs-at-stop", JIEYOU_STOP_TIMEOUT_SECONDS="2")
    service.url()
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.exit_code() == 1
    assert 1.5 < time.monotonic() - began < 5
    assert "stop took too long" in service.text


def test_a_second_signal_leaves_at_once(start: Start) -> None:
    service = start("hangs-at-stop", JIEYOU_STOP_TIMEOUT_SECONDS="60")
    service.url()
    service.process.send_signal(signal.SIGTERM)
    service.until(lambda: "lifespan ended" in service.text)
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.exit_code() == 1
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("task-fails", "endless failed: ValueError"),
        ("task-ends", "endless ended"),
        ("not-alive", "gone"),
    ],
)
def test_a_dead_part_ends_the_whole_with_a_line_and_code_1(
    start: Start, mode: str, reason: str
) -> None:
    service = start(mode)
    url = service.url()
    httpx.get(f"{url}/release")
    assert service.exit_code() == 1
    last = service.lines()[-1]
    assert last["event"] == "service ended by a failure"
    assert reason in last["reason"]
    assert last["alarm"] is True
    assert "lifespan ended" in service.text, "the stop was not orderly"
    assert "a secret text" not in service.text


def test_a_start_that_fails_is_code_1_and_keeps_its_text_to_itself(start: Start) -> None:
    service = start("fails-to-start")
    assert service.exit_code() == 1
    assert service.lines()[-1]["reason"] == "the application did not start"
    assert "a secret text" not in service.text


def test_a_taken_port_is_one_line_that_names_the_setting(start: Start, tmp_path: Path) -> None:
    port = start("well").url().rsplit(":", 1)[1]
    folder = tmp_path / "other"
    folder.mkdir()
    second = Service(folder, "well", JIEYOU_PORT=port)
    assert second.exit_code() == 2
    assert second.text.startswith("jieyou: JIEYOU_PORT: ")
    assert second.text.count("\n") == 1
