"""What must fit together in a path: the channel's rules, stated once, checked while loading."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.simulators.stories.story import Order, Path, Round

HOTLINE_PREFIX = "hotline-"


def mistakes_in_order(order: Order) -> list[str]:
    """Return what breaks the rules on returns and assisting departments."""
    mistakes: list[str] = []
    tried = order.tried
    if len(set(tried[:-1])) < len(order.returns):
        mistakes.append("a department cannot return a case twice")
    for turned, following in zip(order.returns, tried[1:], strict=True):
        last_is_assigned = order.binding and turned is order.returns[-1]
        if turned.proper != following and not last_is_assigned:
            mistakes.append(f"returned in favour of {turned.proper}, but sent to {following}")
        if turned.by in (turned.proper, following):
            mistakes.append(f"{turned.by} returns the case to itself")
    if order.binding != (len(order.returns) > 1):
        mistakes.append("指派 binds after the second return, and only then")
    if order.department in {assist.department for assist in order.assists}:
        mistakes.append(f"{order.department} cannot lead and assist")
    return mistakes


def mistakes_in_path(path: Path) -> list[str]:
    """Return what contradicts the kind of path, or the words on reopening."""
    mistakes: list[str] = []
    kind = path.kind.value
    first = path.rounds[0] if path.rounds else None
    if (first is None) != (kind in {"withdrawn", "not_accepted"}):
        mistakes.append(f"{kind}: only what is withdrawn or not accepted has no round")
    if (path.withdrawal is not None) != (kind == "withdrawn"):
        mistakes.append(f"{kind}: a withdrawal belongs to a withdrawn case")
    if (path.not_accepted is not None) != (kind == "not_accepted"):
        mistakes.append(f"{kind}: a reason belongs to a case that is not accepted")
    if first is not None and kind != _kind_of(first):
        mistakes.append(f"{kind}: the first round shows {_kind_of(first)}")
    if path.urgings and not path.orders:
        mistakes.append("only a department can be urged")
    for played, later in zip(path.rounds, path.rounds[1:], strict=False):
        if later.wish is None or played.feedback.solved is not False:
            mistakes.append("a later round needs an unsolved one before it, and a wish")
    if path.rounds and path.rounds[-1].feedback.solved is False:
        mistakes.append("the last round must solve it")
    return mistakes


def _kind_of(played: Round) -> str:
    if played.order is not None:
        hotline = played.order.department.startswith(HOTLINE_PREFIX)
        return "to_hotline" if hotline else "handed_off"
    if played.answer is None:
        return "grouped"
    return "inquired" if played.inquiry is not None else "answered"
