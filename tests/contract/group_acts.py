"""What happens to a case as the anchor or a member of a group, and after it split off."""

from collections.abc import Sequence

from contracts import ids
from contracts import triage as t
from contracts.lifecycle import Phase
from contracts.vocabulary import GroupKind
from tests.contract.acts import Act, result, when
from tests.contract.histories import Choose, History, case_number

OTHERS = tuple(case_number(n) for n in (901, 902, 903))
_KINDS = tuple(GroupKind)


def _joinable(history: History) -> Sequence[None]:
    return when(Phase.OPEN)(history) if history.case.membership is None else ()


def _form(history: History, _: None, choose: Choose) -> None:
    cause = history.command()
    group_id, kind = ids.group_id("same_event", cause), choose(_KINDS)
    members = (history.case_no, *OTHERS[:2])
    formed = history.by_group(
        t.GroupFormed, group_id, cause, kind=kind, members=members, person="li"
    )
    _join(history, group_id, formed.data.seq or 1, kind, history.case_no)


def _join_another(history: History, _: None, choose: Choose) -> None:
    group_id = ids.group_id("same_need", choose(("command:a", "command:b")))
    version = 1 + history.case.left.get(group_id, 0) + choose((0, 1))
    _join(history, group_id, version, choose(_KINDS), OTHERS[0])


def _join(history: History, group_id: str, version: int, kind: GroupKind, anchor: str) -> None:
    history.by_triage(
        t.CaseJoinedGroup,
        f"group:{group_id}:{version}",
        group_id=group_id,
        group_version=version,
        kind=kind,
        anchor=anchor,
        size=3,
    )


def _own_groups(history: History) -> Sequence[str]:
    return tuple(i for i, group in history.groups.items() if not group.dissolved)


def _change(history: History, group_id: str, choose: Choose) -> None:
    joined, left = choose(((OTHERS[2:], ()), ((), OTHERS[1:2])))
    history.by_group(t.GroupChanged, group_id, history.command(), joined=joined, left=left)


def _membership(history: History) -> Sequence[str]:
    return (history.case.membership.group_id,) if history.case.membership else ()


def _split_off(history: History, group_id: str, choose: Choose) -> None:
    membership = history.case.membership
    version = membership.version + 1 if membership else 1
    if group_id in history.groups:
        changed = history.by_group(
            t.GroupChanged, group_id, history.command(), left=(history.case_no,)
        )
        version = changed.data.seq or version
    _leave(history, group_id, version, "split_off")


def _dissolve(history: History, group_id: str, choose: Choose) -> None:
    dissolved = history.by_group(t.GroupDissolved, group_id, history.command(), person="li")
    membership = history.case.membership
    if membership is not None and membership.group_id == group_id:
        version = dissolved.data.seq or membership.version
        _leave(history, group_id, version, "dissolved")


def _leave(history: History, group_id: str, version: int, ground: str) -> None:
    history.by_triage(
        t.CaseLeftGroup,
        f"group:{group_id}:{version}",
        group_id=group_id,
        group_version=version,
        ground=ground,
    )


def _resolvable(history: History) -> Sequence[str]:
    return _membership(history) if when(Phase.OPEN)(history) else ()


def _resolve(history: History, group_id: str, choose: Choose) -> None:
    membership = history.case.membership
    version = membership.version + 1 if membership else 1
    if group_id in history.groups:
        resolved = history.by_group(
            t.GroupResolved,
            group_id,
            history.command(),
            outcome="result",
            result=result(history),
            members=(history.case_no, *OTHERS[:2]),
        )
        version = resolved.data.seq or version
    _fan_out(history, group_id, version, choose)


def _fan_out(history: History, group_id: str, version: int, choose: Choose) -> None:
    history.by_triage(
        t.CaseGroupResolved,
        f"group:{group_id}:{version}",
        group_id=group_id,
        group_version=version,
        department=choose((None, "health")),
        outcome=choose(("answer", "result")),
        result=result(history),
    )


def _left_groups(history: History) -> Sequence[str]:
    return tuple(history.case.left) if when(Phase.OPEN)(history) else ()


def _late_result(history: History, group_id: str, choose: Choose) -> None:
    _fan_out(history, group_id, history.case.left[group_id] + 1, choose)


def _late_join(history: History, group_id: str, choose: Choose) -> None:
    version = history.case.left[group_id]
    _join(history, group_id, version, choose(_KINDS), OTHERS[0])


GROUP_ACTS = (
    Act("form group", _joinable, _form),
    Act("join another's group", _joinable, _join_another),
    Act("change group", _own_groups, _change),
    Act("split off", _membership, _split_off),
    Act("dissolve group", _own_groups, _dissolve),
    Act("group resolves", _resolvable, _resolve),
    Act("result of a group it left", _left_groups, _late_result),
    Act("earlier version of a group it left", _left_groups, _late_join),
)
