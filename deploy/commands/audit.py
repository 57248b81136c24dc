"""`jieyou audit`: every accepted case is complete, waits in a named queue, or is found at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from contracts.envelope import Event
    from deploy.audit import Audit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="audit",
        help="逐件核对日志与数据库：每件在哪、缺什么、什么重复；有误时退出码为 1。",
    )(audit)


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出。")] = False,
    cases: Annotated[bool, typer.Option("--cases", help="列出各队列的办件编号。")] = False,
    case: Annotated[
        str | None, typer.Option("--case", help="只看一件的全部事件（不含个人信息）。")
    ] = None,
    patience: Annotated[
        float,
        typer.Option(min=0.0, help="可疑的办件最多复核几秒（平台运行中，事件可能还在途中）。"),
    ] = 10.0,
) -> None:
    """Of JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL, else of the local platform that runs."""
    import asyncio

    from deploy.local import control
    from deploy.local.folders import PlatformFolder

    kafka_url, mongo_url = control.log_and_store(PlatformFolder.current())
    if case is not None:
        asyncio.run(_tell_story(kafka_url, case, as_json=as_json))
        return
    result = asyncio.run(_audited(kafka_url, mongo_url, patience))
    if as_json:
        import json

        typer.echo(json.dumps(as_document(result, with_cases=cases), ensure_ascii=False, indent=1))
    else:
        from deploy.audit.showing import print_audit

        print_audit(result, with_cases=cases)
    if not result.is_clean:
        raise typer.Exit(1)


async def _audited(kafka_url: str, mongo_url: str | None, patience_s: float) -> Audit:
    from deploy.audit import run_audit
    from deploy.audit.showing import AuditDisplay

    with AuditDisplay() as display:
        return await run_audit(
            kafka_url, mongo_url, on_progress=display.show, patience_s=patience_s
        )


async def _tell_story(kafka_url: str, written: str, *, as_json: bool) -> None:
    from contracts.ids import parse_case_number
    from deploy.audit import story_of
    from deploy.audit.showing import print_story
    from deploy.local.errors import PlatformError

    case_no = parse_case_number(written)
    if case_no is None:
        raise PlatformError("--case: not a case number, its check character does not fit")
    events = await story_of(kafka_url, case_no)
    if not events:
        raise PlatformError(f"the log has no case {case_no}")
    if as_json:
        import json

        rows = [story_row(event) for event in in_order(events)]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        print_story(case_no, events)


def in_order(events: list[Event]) -> list[Event]:
    """Return each event once, in the order of the timeline that people read."""
    from contracts.lifecycle import state_of

    return list(state_of(events[0].data.case_no, events).timeline)


def story_row(event: Event) -> dict[str, Any]:
    """Return what a story shows of an event: no content, so nothing personal."""
    from deploy.audit.showing import shown_cause

    data = event.data
    return {
        "lc": data.lc,
        "type": event.type,
        "document_id": data.document_id,
        "seq": data.seq,
        "round": data.round,
        "rev": data.rev,
        "event_id": event.id,
        "caused_by": shown_cause(data.caused_by),
        "recorded_at": data.recorded_at.isoformat(),
    }


def as_document(result: Audit, *, with_cases: bool) -> dict[str, Any]:
    """Return an audit for machines; case numbers only where they are asked for or at fault."""
    from dataclasses import asdict

    from deploy.audit import Standing

    def queues(of: Any) -> dict[str, Any]:
        return {queue: list(nos) if with_cases else len(nos) for queue, nos in of.items()}

    return {
        "is_clean": result.is_clean,
        "accepted": result.accepted,
        "events": result.events,
        "standings": {one.value: result.count(one) for one in Standing},
        "waiting": queues(result.waiting),
        "in_flight": queues(result.in_flight),
        "missing": [asdict(one) for one in result.missing],
        "double": [asdict(one) for one in result.double],
        "blocked": {no: [asdict(one) for one in own] for no, own in result.blocked.items()},
        "dead_letters": [asdict(one) for one in result.dead_letters],
        "parked": list(result.parked),
        "open_wishes": list(result.open_wishes),
        "overdue": list(result.overdue),
        "erasing": list(result.erasing),
        "stores_were_read": result.stores_were_read,
        "took_seconds": round(result.took_seconds, 3),
    }
