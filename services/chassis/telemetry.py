"""Logs and trace context: one JSON line an event, and nothing in it that belongs to a person.

Events are constant phrases; what varies stands in keys, and only keys of ALLOWED_KEYS pass. What
passes is still looked through for numbers of people and for long text, because the key of a field
says nothing about what a programmer puts into it by mistake.
"""

import hashlib
import logging
import re
import secrets
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, BinaryIO

import orjson
import structlog

_WHO = (
    "at level event service instance logger version pid host port profile setting signal exit_code"
)
_WHAT = (
    "case_no event_id document_id handoff_id delivery_id group_id command_id reply_id seq round"
    " kind category tier department hotline channel route method status key_id caller_kind"
    " trace_id check task"
)
_BUS_AND_STORE = (
    "topic topics partition offset origin group records attempt dead_letters pending collection"
    " documents follower"
)
_MEASURES_AND_CAUSES = (
    "count seconds milliseconds bytes limit lag_seconds error error_digest frames reason alarm"
    " deadline due_at as_of suppressed"
)
ALLOWED_KEYS = frozenset(" ".join([_WHO, _WHAT, _BUS_AND_STORE, _MEASURES_AND_CAUSES]).split())
_NUMERIC_KEYS = frozenset({"offset", "pid", "bytes", "count", "milliseconds", "seconds"})
_LONGEST_TEXT = 200
_LONGEST_FOREIGN_TEXT = 400
_NUMBERS_OF_PEOPLE = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}"  # mobile
    r"|\(?0\d{2,3}\)?[- ]?\d{7,8}"  # fixed line with area code
    r"|\d{17}[\dXx]"  # identity card
    r")(?![0-9A-Za-z])"
)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_current_trace: ContextVar[str | None] = ContextVar("current_trace", default=None)


def redacted(text: str, longest: int = _LONGEST_TEXT) -> str:
    """The text without numbers of people; of a longer text only its length is told."""
    if len(text) > longest:
        return f"[text of {len(text)} characters]"
    return _NUMBERS_OF_PEOPLE.sub("[number]", text)


def allow_listed(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: keeps the allowed keys, and their values without personal data."""
    dropped = [key for key in event if key not in ALLOWED_KEYS]
    for key in dropped:
        del event[key]
    if dropped:
        event["suppressed"] = sorted(redacted(key, 40) for key in dropped)
    for key, value in event.items():
        if key not in _NUMERIC_KEYS and key != "suppressed":
            event[key] = _without_people(value, key)
    return event


def _without_people(value: Any, key: str) -> Any:
    if isinstance(value, str):
        return redacted(value, _LONGEST_FOREIGN_TEXT if key == "event" else _LONGEST_TEXT)
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return value if redacted(str(value)) == str(value) else "[number]"
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_people(part, "") for part in value]
    return redacted(str(value)) if not isinstance(value, bytes | Mapping) else "[object]"


def error_fields(error: BaseException) -> dict[str, Any]:
    """What a log line may tell of an error: class, where it arose, a digest to group by.

    Its text is left out: validation errors quote what they refuse.
    """
    frames = [
        f"{_module(frame.filename)}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return {
        "error": type(error).__qualname__,
        "frames": frames[-12:],
        "error_digest": stack_digest(error),
    }


def stack_digest(error: BaseException) -> str:
    """12 hexadecimal digits that are equal for errors of one class from one place in the code."""
    places = [
        f"{_module(frame.filename)} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    text = "\n".join([type(error).__qualname__, *places])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _module(filename: str) -> str:
    """The last two parts of a path: enough to find the file, nothing of the machine."""
    return "/".join(filename.replace("\\", "/").rsplit("/", 2)[-2:])


def _render_error(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event.update(error_fields(error))
    return event


class _ForeignRecords(logging.Handler):
    """Brings what libraries log with `logging` into the same lines, under the same rules."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"logger": record.name}
            if record.exc_info and record.exc_info[1] is not None:
                fields.update(error_fields(record.exc_info[1]))
            message = record.getMessage().strip()
            structlog.get_logger().log(record.levelno, message, **fields)
        except Exception:  # noqa: BLE001 -- logging must not fail what it tells of
            self.handleError(record)


def configure_logging(
    service: str,
    instance: str,
    level: str = "INFO",
    stream: BinaryIO | None = None,
    also: Callable[[Mapping[str, Any]], None] | None = None,
) -> None:
    """Send all logs of this process, libraries' too, as JSON lines to `stream` (standard out).

    `also` is shown each line as it is written.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]

    def named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"], event["instance"] = service, instance
        return event

    def shown(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if also is not None:
            also(event)
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            named,
            _render_error,
            allow_listed,
            shown,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(stream or sys.stdout.buffer),
        cache_logger_on_first_use=stream is None,
    )
    root = logging.getLogger()
    root.handlers = [_ForeignRecords()]
    root.setLevel(threshold)
    for quiet in ("aiokafka", "pymongo", "httpx", "uvicorn", "asyncio"):
        logging.getLogger(quiet).setLevel(max(threshold, logging.WARNING))
    # Warns at each start that topics are not created automatically, which is as it should be.
    logging.getLogger("jieyou.faststream").setLevel(logging.ERROR)
    # uvicorn's access lines carry whole URLs; the HTTP layer writes its own with the route only.
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(True)


def _to_json(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS)


def accept_traceparent(header: str | None) -> str:
    """Make the trace of an incoming call or record the current one and return our part of it.

    A missing or malformed header (W3C Trace Context, level 1) starts a trace of its own.
    """
    match = _TRACEPARENT.fullmatch(header) if header else None
    if match is None or header is None or header.startswith("ff") or not int(match[1], 16):
        trace_id, flags = secrets.token_hex(16), "01"
    else:
        trace_id, flags = match[1], match[3]
    current = f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"
    _current_trace.set(current)
    structlog.contextvars.bind_contextvars(trace_id=trace_id)
    return current


def traceparent() -> str:
    """The `traceparent` for a record or call that goes out: the current trace, or a new one."""
    return _current_trace.get() or accept_traceparent(None)


def log_unhandled(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """An `excepthook` that keeps the text of errors out of the logs."""
    if not issubclass(kind, KeyboardInterrupt):
        structlog.get_logger().critical("process ended by an error", **error_fields(error))
