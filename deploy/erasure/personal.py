"""Whether something still holds a person, by the marks of the contract."""

from pydantic import ValidationError

from contracts.envelope import ContractError, Event, parse
from contracts.feeds import FeedHandoff
from contracts.vocabulary import without_personal
from services.chassis.bus import Record


def event_holds_person(event: Event) -> bool:
    """Whether an event of one case says something personal. What of a group concerns all members
    alike does not count as one's own."""
    return event.data.is_of_one_case and without_personal(event.data) != event.data


def record_holds_person(record: Record) -> bool:
    """Whether a record under an erased case's number holds a person; what nobody can read may."""
    if record.value is None:
        return False
    try:
        return event_holds_person(parse(record.headers, record.value))
    except ContractError:
        return True


def shown_in_feed(record: Record) -> FeedHandoff | None:
    """Return a feed's hand-off; None for one that was taken off or is none."""
    if record.value is None:
        return None
    try:
        return FeedHandoff.model_validate_json(record.value)
    except ValidationError:
        return None
