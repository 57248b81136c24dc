"""Alarms reach the address that people watch, whatever else is away, and hold nothing personal."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import structlog

from services.chassis.alarms import LINES_AT_ONCE, MOST_WAITING, Alarms, message
from services.chassis.telemetry import configure_logging

LINE = {"event": "danger waits in the spool", "alarm": True, "case_no": "A0F1BNHE8NFE4"}


class Robot(HTTPServer):
    """A receiver that can be out of order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.got: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/robot?key=secret"


class _Handler(BaseHTTPRequestHandler):
    server: Robot

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.status == 200:
            self.server.got.append(json.loads(body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def robot() -> Iterator[Robot]:
    server = Robot()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def until_sent(robot: Robot, alarms: Alarms, lines: int) -> None:
    task = asyncio.create_task(alarms.run())
    try:
        async with asyncio.timeout(10):
            while sum(len(one["alarms"]) for one in robot.got) < lines:
                await asyncio.sleep(0.02)
    finally:
        task.cancel()


async def test_what_the_log_marks_as_alarm_is_posted_in_words_and_nothing_else(
    robot: Robot,
) -> None:
    alarms = Alarms(robot.url, pause_seconds=0.01)
    configure_logging("intake", "intake-1", stream=io.BytesIO(), also=alarms.take)
    log = structlog.get_logger()
    try:
        log.critical(
            "danger waits in the spool",
            alarm=True,
            case_no="A0F1BNHE8NFE4",
            reason="breathing",
            text="张三的电话",
        )
        log.info("request accepted", case_no="B0F1BNHE8NFE4")
    finally:
        structlog.reset_defaults()
    await until_sent(robot, alarms, 1)
    (posted,) = robot.got
    assert posted["msgtype"] == "text"
    assert "有危急求助在暂存中" in posted["text"]["content"]
    assert "case_no=A0F1BNHE8NFE4，reason=breathing" in posted["text"]["content"]
    assert [one["case_no"] for one in posted["alarms"]] == ["A0F1BNHE8NFE4"]
    assert "张三" not in json.dumps(posted, ensure_ascii=False)


async def test_what_is_not_taken_is_sent_again_several_in_one_message(robot: Robot) -> None:
    robot.status = 503
    alarms = Alarms(robot.url, pause_seconds=0.01)
    wanted = LINES_AT_ONCE + 3
    for number in range(wanted):
        alarms.take({**LINE, "count": number})
    task = asyncio.create_task(alarms.run())
    await asyncio.sleep(0.2)
    task.cancel()
    robot.status = 200
    await until_sent(robot, alarms, wanted)
    assert [len(one["alarms"]) for one in robot.got] == [LINES_AT_ONCE, 3]
    assert [line["count"] for one in robot.got for line in one["alarms"]] == [*range(wanted)]


async def test_of_too_many_the_oldest_are_dropped(robot: Robot) -> None:
    alarms = Alarms(robot.url, pause_seconds=0.0)
    for number in range(MOST_WAITING + 5):
        alarms.take({**LINE, "count": number})
    await until_sent(robot, alarms, MOST_WAITING)
    assert robot.got[0]["alarms"][0]["count"] == 5


async def test_without_an_address_nothing_waits() -> None:
    alarms = Alarms(None)
    alarms.take(LINE)
    task = asyncio.create_task(alarms.run())
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()


def test_an_unknown_line_is_shown_by_its_own_phrase() -> None:
    said = message([{"event": "something new", "instance": "triage-1", "at": "08:00"}])
    assert said["text"]["content"] == "解忧告警\n08:00 triage-1 something new"
