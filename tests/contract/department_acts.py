"""What the departments do in a history: each act is a reply on one hand-off."""

from collections.abc import Sequence
from typing import Any

from contracts import handling as h
from contracts.feeds import HandoffState
from contracts.lifecycle import HandoffDocument
from tests.contract.acts import Act, Do, result
from tests.contract.histories import Choose, History


def open_handoffs(history: History) -> Sequence[HandoffDocument]:
    return [one for one in history.handoffs.values() if one.state.is_open and one.sent_at]


def _ended_handoffs(history: History) -> Sequence[HandoffDocument]:
    ended = (one for one in history.handoffs.values() if not one.state.is_open)
    return [one for one in ended if one.refused_replies < 2]


def _returnable(history: History) -> Sequence[HandoffDocument]:
    return [
        one
        for one in open_handoffs(history)
        if one.state == HandoffState.SENT and one.order and not one.order.binding
    ]


def reply(
    history: History, document: HandoffDocument, of: type[h.ReplyEvent], **fields: Any
) -> None:
    """Something that a department says."""
    history.commands += 1
    reply_id = f"{document.department}-{history.commands}"
    cause = f"reply:{document.department}:{document.document_id}:{reply_id}"
    if document.order is not None:
        person = history.words("clerk")
        history.by_handoff(of, document.order, cause, reply_id=reply_id, person=person, **fields)


def _says(of: type[h.ReplyEvent], **fields: Any) -> Do:
    def do(history: History, document: HandoffDocument, choose: Choose) -> None:
        texts = {name: history.words(name) for name, value in fields.items() if value is None}
        reply(history, document, of, **{**fields, **texts})

    return do


def give_result(history: History, document: HandoffDocument, choose: Choose) -> None:
    """办理结果."""
    clears = tuple(document.deadlines)
    reply(history, document, h.HandoffResolved, result=result(history), clears=clears)


def _late_reply(history: History, document: HandoffDocument, choose: Choose) -> None:
    late = result(history)
    reply(history, document, h.ReplyRefused, act="result", why="ended", result=late)


def _ask_extension(history: History, document: HandoffDocument, choose: Choose) -> None:
    reply(
        history,
        document,
        h.ExtensionRequested,
        ground=history.words("ground"),
        result_due_at=history.now,
    )


def _contact(history: History, document: HandoffDocument, choose: Choose) -> None:
    reply(
        history,
        document,
        h.CitizenContacted,
        by="telephone",
        contacted_at=history.now,
        reached=choose((True, False)),
    )


_RETURN = Act(
    "return", _returnable, _says(h.HandoffReturned, ground=None, proper_department="supplies")
)
DEPARTMENT_ACTS = (
    _RETURN,
    _RETURN,
    Act("sign", open_handoffs, _says(h.HandoffSigned, clears=("signed",))),
    Act("give result", open_handoffs, give_result),
    Act("pass on", open_handoffs, _says(h.HandoffPassedOn, unit="renji")),
    Act("progress", open_handoffs, _says(h.HandoffProgressed, text=None)),
    Act("question", open_handoffs, _says(h.HandoffQuestioned, text=None)),
    Act("contact", open_handoffs, _contact),
    Act("ask for extension", open_handoffs, _ask_extension),
    Act("reply late", _ended_handoffs, _late_reply),
)
