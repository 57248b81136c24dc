"""Alarms out of band: what the log marks `alarm` also goes to an address that people watch.

It needs neither Kafka nor the store: it is for the hour in which they are away and a request with
signs of danger waits in intake's spool. The body is a text message as the group robots of WeCom
(企业微信) and DingTalk (钉钉) take it, with the log line's own fields beside it for others.
Nothing of a person is in it: it is made of the line after everything personal was struck out.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import httpx
import structlog
from prometheus_client import Counter

from services.chassis.backoff import backoff_seconds

MOST_WAITING = 1_000
LINES_AT_ONCE = 20
PAUSE_SECONDS = 3.0
"""Between two messages: the robots take 20 a minute."""

_POST_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 30.0
_SHOWN = ("case_no", "reason", "error", "topic", "group", "count", "check", "task")
_DROPPED = Counter(
    "jieyou_alarms_dropped_total",
    "Alarms that the alarm address did not take and that are in the log alone.",
)

log = structlog.get_logger()


class Alarms:
    """Holds alarms and sends them, several in one message, until the address takes them.

    Of more than `MOST_WAITING` the oldest are dropped and counted; the log has them all.
    """

    def __init__(self, url: str | None, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._url = url
        self._pause = pause_seconds
        self._waiting: deque[dict[str, Any]] = deque()
        self._arrived = asyncio.Event()

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a log line, as it is written, if it is an alarm and there is an address."""
        if self._url is None or not line.get("alarm"):
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            _DROPPED.inc()
        self._waiting.append(dict(line))
        self._arrived.set()

    async def run(self) -> None:
        """Send for ever."""
        async with httpx.AsyncClient(timeout=_POST_SECONDS, trust_env=False) as client:
            failures = 0
            while True:
                await self._arrived.wait()
                if await self._sent(client):
                    failures = 0
                    await asyncio.sleep(self._pause)
                    continue
                failures += 1
                if failures == 1:
                    log.error("alarm address does not answer", count=len(self._waiting))
                await asyncio.sleep(
                    backoff_seconds(failures, first=1.0, longest=_LONGEST_WAIT_SECONDS)
                )

    async def _sent(self, client: httpx.AsyncClient) -> bool:
        lines = [self._waiting[n] for n in range(min(LINES_AT_ONCE, len(self._waiting)))]
        try:
            answer = await client.post(self._url or "", json=message(lines))
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        if not answer.is_success:
            return False
        for line in lines:
            if self._waiting and self._waiting[0] is line:
                self._waiting.popleft()
        if not self._waiting:
            self._arrived.clear()
        return True


def message(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the body of one message about these log lines."""
    text = "\n".join(["解忧告警", *map(_said, lines)])
    return {"msgtype": "text", "text": {"content": text}, "alarms": lines}


def _said(line: Mapping[str, Any]) -> str:
    what = _WORDS.get(str(line.get("event", "")), str(line.get("event", "")))
    more = "，".join(f"{key}={line[key]}" for key in _SHOWN if line.get(key) is not None)
    who = line.get("instance") or line.get("service") or ""
    return f"{line.get('at', '')} {who} {what}" + (f"（{more}）" if more else "")


_WORDS = {
    "danger waits in the spool": "有危急求助在暂存中，值班席暂时看不到，请立即人工处置",
    "red case": "红色求助，请立即研判",
    "record put aside": "一条记录无法处理，已转死信",
    "clock not trusted": "本机时钟不可信，期限暂不触发",
    "batch given back": "一批记录反复处理失败",
    "parked wishes grow old": "市民后续意见迟迟等不到其求助",
}
