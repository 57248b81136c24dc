"""What a platform needs at its first start so that people can use it: secrets and keys."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from contracts.profile import Profile
from deploy.local.folders import PlatformFolder
from services.chassis.keys import KeyFile, KeyKind, new_key

# Names of files, not secrets.
CASE_SECRET = "case_secret"  # noqa: S105
CODE_SECRET = "code_secret"  # noqa: S105
WEBHOOK_SECRET = "webhook_secret"  # noqa: S105
SECRETS = (CASE_SECRET, CODE_SECRET, WEBHOOK_SECRET)
_SECRET_BYTES = 32
_PEOPLE = (
    (KeyKind.DESK, "desk-1"),
    (KeyKind.DESK, "desk-2"),
    (KeyKind.DESK, "desk-3"),
    (KeyKind.SUPERVISOR, "supervisor-1"),
    (KeyKind.OPERATOR, "operator-1"),
    (KeyKind.READER, "reader-1"),
)


def ensure_secrets(folder: PlatformFolder) -> None:
    """Make the secrets where they are missing; one that is there never changes.

    With another case secret the same request would get another case number.
    """
    for name in SECRETS:
        path = folder.secrets / name
        if not path.is_file():
            _write_private(path, secrets.token_hex(_SECRET_BYTES) + "\n")


def ensure_keys(folder: PlatformFolder, profile: Profile) -> None:
    """Make one key for each channel and department of the profile and for the people who work here.

    Only what never had a key of its kind and name gets one: a profile that has grown is served too,
    and a key that somebody revoked does not come back. The tokens go to `secrets/tokens.json`,
    `{kind: {name: token}}`, the only place they stand.
    """
    key_file = KeyFile(folder.keys_file)
    records = key_file.load() if folder.keys_file.is_file() else []
    known = {(record.kind, record.name) for record in records}
    wanted = [
        *((KeyKind.CHANNEL, channel.code) for channel in profile.channels),
        *((KeyKind.DEPARTMENT, department.code) for department in profile.departments),
        *_PEOPLE,
    ]
    tokens = read_tokens(folder)
    made = [(*one, *new_key(*one)) for one in wanted if one not in known]
    for kind, name, token, record in made:
        tokens.setdefault(kind.value, {})[name] = token
        records.append(record)
    if made:  # tokens first: a key whose token nobody has would be useless and stay
        _write_private(folder.tokens_file, json.dumps(tokens, indent=1) + "\n")
        key_file.save(records)


def read_tokens(folder: PlatformFolder) -> dict[str, dict[str, str]]:
    """The tokens made at the first start, by kind and name; empty before it."""
    if not folder.tokens_file.is_file():
        return {}
    tokens: dict[str, dict[str, str]] = json.loads(folder.tokens_file.read_text(encoding="utf-8"))
    return tokens


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
