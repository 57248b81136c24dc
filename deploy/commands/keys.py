"""`jieyou keys`: make, list and revoke the keys that open the services to people and programs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from services.chassis.keys import KeyFile, KeyRecord


class Kind(StrEnum):
    """Whose key it is (as services.chassis.keys.KeyKind, which is not loaded for --help)."""

    CHANNEL = "channel"
    DESK = "desk"
    SUPERVISOR = "supervisor"
    DEPARTMENT = "department"
    OPERATOR = "operator"
    READER = "reader"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="管理访问密钥；改动一秒内生效，无需重启。", no_args_is_help=True)
    group.command(name="add", help="新建密钥；完整密钥只显示这一次。")(add)
    group.command(name="list", help="列出全部密钥（不含密钥本身）。")(list_keys)
    group.command(name="revoke", help="按编号吊销密钥。")(revoke)
    group.command(name="webhook", help="显示某个接收方核验推送签名用的密钥。")(webhook)
    app.add_typer(group, name="keys")


def add(
    kind: Annotated[Kind, typer.Argument(help="密钥类别。")],
    name: Annotated[str, typer.Argument(help="渠道代码、部门代码或人员代号。")],
) -> None:
    """Print the token of a new key, on standard output and nowhere else."""
    from services.chassis.keys import new_key

    key_file, records = _load()
    token, record = new_key(kind.value, name)
    key_file.save([*records, record])
    typer.echo(token)


def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出。")] = False,
) -> None:
    """Ids, kinds, names and times; never hashes."""
    import json

    _, records = _load()
    if as_json:
        rows = [record.model_dump(mode="json", exclude={"sha256"}) for record in records]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("编号", "类别", "名称", "建立时间", "吊销时间")
    for record in records:
        revoked = f"{record.revoked_at:%Y-%m-%d %H:%M}" if record.revoked_at else "—"
        made = f"{record.created_at:%Y-%m-%d %H:%M}"
        table.add_row(record.id, record.kind.value, record.name, made, revoked)
    Console().print(table)


def revoke(key_id: Annotated[str, typer.Argument(help="密钥编号，见 jieyou keys list。")]) -> None:
    """The key stays in the file, with the time from which it is refused."""
    from datetime import UTC, datetime

    from deploy.local.errors import PlatformError

    key_file, records = _load()
    if not any(record.id == key_id and record.revoked_at is None for record in records):
        raise PlatformError(
            f"{key_file.path}: there is no live key {key_id}; see `jieyou keys list`"
        )
    now = datetime.now(UTC)
    key_file.save(
        record.model_copy(update={"revoked_at": now}) if record.id == key_id else record
        for record in records
    )
    typer.echo(f"已吊销 {key_id}")


class Receiver(StrEnum):
    """Who takes webhooks."""

    CHANNEL = "channel"
    DEPARTMENT = "department"


def webhook(
    kind: Annotated[Receiver, typer.Argument(help="channel 渠道，department 部门。")],
    name: Annotated[str, typer.Argument(help="渠道代码或部门代码。")],
) -> None:
    """Print the key, on standard output and nowhere else; it is derived and never changes."""
    import os
    from pathlib import Path

    from deploy.local.credentials import WEBHOOK_SECRET
    from deploy.local.errors import PlatformError
    from deploy.local.folders import PlatformFolder
    from services.notify.domain.webhooks import printed, receiver_key

    given = os.environ.get("JIEYOU_WEBHOOK_SECRET_FILE")
    path = Path(given) if given else PlatformFolder.current().secrets / WEBHOOK_SECRET
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        raise PlatformError(
            f"{path}: there is no webhook secret; start the platform once, or name its file in "
            "JIEYOU_WEBHOOK_SECRET_FILE"
        ) from None
    typer.echo(printed(receiver_key(secret, kind.value, name)))


def _load() -> tuple[KeyFile, list[KeyRecord]]:
    import os
    from pathlib import Path

    from deploy.local.folders import PlatformFolder
    from services.chassis.keys import KeyFile

    given = os.environ.get("JIEYOU_KEYS_FILE")
    key_file = KeyFile(Path(given) if given else PlatformFolder.current().keys_file)
    return key_file, key_file.load() if key_file.path.is_file() else []
