"""What stands beside the case topics: the departments' feeds and replies, and dead letters."""

from dataclasses import dataclass, field

import orjson
from pydantic import ValidationError

from contracts.feeds import REPLY, FeedHandoff, HandoffState, SignReply
from contracts.ids import parse_case_number
from contracts.topics import CASE_TOPICS, department_of, partition_for
from deploy.audit.findings import DeadLetter
from deploy.audit.log import Place
from services.chassis.bus import Record
from services.chassis.letters_of import names_in


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A hand-off as a feed has it last."""

    handoff_id: str
    case_no: str
    version: int
    state: HandoffState
    order: tuple[int, str, str, int]
    """Round, role, department, attempt: a department gets one order under one id."""
    erased: bool = False
    written_ms: int = 0


@dataclass(frozen=True, slots=True)
class Replied:
    """A reply of a department, without what it says."""

    cause: str
    handoff_id: str
    is_signature: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Named:
    """A dead letter in which a case or hand-off is named somewhere."""

    service: str
    origin: str
    written_ms: int


@dataclass(slots=True)
class Beside:
    """What was read, by case or hand-off; what a case has used is taken out."""

    feeds: dict[str, dict[str, FeedEntry]] = field(default_factory=dict)
    replies: dict[str, list[Replied]] = field(default_factory=dict)
    dead_letters: dict[str, DeadLetter] = field(default_factory=dict)
    """By record key, so that a letter that was written twice is one."""
    names: dict[str, tuple[Named, frozenset[str]]] = field(default_factory=dict)
    """What may be a case number or an id in a letter, by the same key."""

    def take_feed(self, record: Record) -> None:
        """Take a feed's record in; the newest version of a hand-off stays."""
        if record.value is None:
            return
        try:
            shown = FeedHandoff.model_validate_json(record.value)
        except ValidationError:
            return
        entry = FeedEntry(
            shown.handoff_id,
            shown.case_no,
            shown.version,
            shown.state,
            (shown.round, shown.role.value, shown.department, shown.attempt),
            shown.erased,
            record.timestamp_ms,
        )
        own = self.feeds.setdefault(shown.case_no, {})
        known = own.get(shown.handoff_id)
        if known is None or known.version <= entry.version:  # a redaction has the same
            own[shown.handoff_id] = entry

    def take_reply(self, record: Record) -> None:
        """Take a department's reply in; what is no reply notify puts aside."""
        if record.value is None:
            return
        try:
            reply = REPLY.validate_json(record.value)
        except ValidationError:
            return
        department = department_of(record.topic)
        place = Place(record.topic, record.partition, record.offset)
        cause = f"reply:{department}/{reply.handoff_id}/{reply.reply_id}"
        is_signature = isinstance(reply, SignReply)
        self.replies.setdefault(reply.handoff_id, []).append(
            Replied(cause, reply.handoff_id, is_signature, place)
        )

    def take_dead_letter(self, record: Record) -> None:
        """Take a dead letter in, without its payload; one that was deleted leaves."""
        name = f"{record.topic}/{(record.key or b'').decode('utf-8', 'replace')}"
        if record.value is None:
            self.dead_letters.pop(name, None)
            self.names.pop(name, None)
            return
        letter = self.dead_letters[name] = _letter(record)
        named = Named(letter.service, letter.origin, record.timestamp_ms)
        self.names[name] = named, names_in(record.value)

    def letters_by_name(self) -> dict[str, list[Named]]:
        """Return the letters by what is named in them."""
        found: dict[str, list[Named]] = {}
        for letter, names in self.names.values():
            for name in names:
                found.setdefault(name, []).append(letter)
        return found

    def aside(self) -> set[tuple[str, str]]:
        """Return (service, origin) of what lies among the dead letters."""
        return {(one.service, one.origin) for one in self.dead_letters.values()}


def _letter(record: Record) -> DeadLetter:
    service = record.topic.removeprefix("dead-letters.").removesuffix(".v1")
    try:
        content = orjson.loads(record.value or b"")
        origin = content["origin"]
        place = Place(origin["topic"], origin["partition"], origin["offset"])
        subject = (content.get("headers") or {}).get("ce_subject", "")
        reason = str(content["reason"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return DeadLetter(service, record.origin, "is no dead letter")
    case_no = parse_case_number(str(subject))
    # As in `contracts.dead_letters`: who does not own a case cannot block it by a header.
    if place.topic not in CASE_TOPICS or case_no is None:
        return DeadLetter(service, place.origin, reason)
    is_its_own = partition_for(case_no) == place.partition
    return DeadLetter(service, place.origin, reason, case_no if is_its_own else None)
