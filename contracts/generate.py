"""Generate the published form of the contract: JSON Schemas and the AsyncAPI document.

    python -m contracts.generate            write contracts/schemas/ and contracts/asyncapi.yaml
    python -m contracts.generate --check    exit 1 and name what is not as generated
    python -m contracts.generate --release 0.2.0    freeze the schemas as those of a release

Schemas of one file each stand under `schemas/<group>/`. `schemas/released/<version>.json` holds
all schemas of a release in one file and is never written twice: it is what the next version has
to stay readable with (`contracts.compatibility`).
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts import dead_letters, feeds, handling, policies, requests, triage
from contracts.asyncapi import asyncapi_yaml
from contracts.compatibility import breaks
from contracts.envelope import event_types, headers_schema, schema_of

FOLDER = Path(__file__).parent
RELEASED = Path("schemas/released")
WRITERS = (requests.OWNER, triage.OWNER, handling.OWNER)
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class ReleaseRefusedError(Exception):
    """These schemas cannot become this release."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema of the contract by its name, which is also its path without `.json`."""
    found = {f"events/{name}": schema_of(of) for name, of in event_types().items()}
    found["headers"] = headers_schema()
    found["feeds/handoff"] = feeds.FeedHandoff.model_json_schema()
    found["replies/any"] = feeds.REPLY.json_schema()
    for act, reply in feeds.ACTS.items():
        found[f"replies/{act}"] = reply.model_json_schema()
    found["policies/policy"] = policies.Policy.model_json_schema()
    found["dead-letters/letter"] = dead_letters.DeadLetter.model_json_schema()
    return {
        name: {"$schema": _DRAFT, "$id": f"urn:jieyou:schema:{_plain(name)}:1", **schema}
        for name, schema in sorted(found.items())
    }


def _plain(name: str) -> str:
    """The name in an event's `ce_dataschema` is its type; documents are named with their group."""
    return name.removeprefix("events/").replace("/", ".")


def generated() -> dict[Path, str]:
    """Return all generated files by their path in this package; releases are not generated."""
    files = {Path("schemas") / f"{name}.json": _json(of) for name, of in schemas().items()}
    files[Path("asyncapi.yaml")] = asyncapi_yaml()
    return files


def stale(folder: Path = FOLDER) -> list[str]:
    """Name the files in `folder` that are missing, differ from, or are not generated."""
    wanted = generated()
    found = [
        f"{path} is {'not as generated' if (folder / path).exists() else 'missing'}"
        for path, text in wanted.items()
        if _text(folder / path) != text
    ]
    found.extend(f"{path} is not generated" for path in _present(folder) if path not in wanted)
    return sorted(found)


def write(folder: Path = FOLDER) -> None:
    """Write the generated files and remove those that are generated no more."""
    wanted = generated()
    for path in list(_present(folder)):
        if path not in wanted:
            (folder / path).unlink()
    for path, text in wanted.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def last_release(folder: Path = FOLDER) -> tuple[str, dict[str, Any]]:
    """Return version and schemas of the last release. Raises FileNotFoundError if there is none."""
    files = {_numbers(path.stem): path for path in (folder / RELEASED).glob("*.json")}
    if not files:
        raise FileNotFoundError(f"no release in {RELEASED}")
    path = files[max(files)]
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return path.stem, content


def release(version: str, folder: Path = FOLDER) -> Path:
    """Freeze the present schemas as those of a release and return the file.

    Raises ReleaseRefusedError if the version stands already or is not later than the last, or if
    a reader of the last release would break.
    """
    if not _VERSION.fullmatch(version):
        raise ReleaseRefusedError(f"{version!r} is no version such as 0.2.0")
    present = schemas()
    if any((folder / RELEASED).glob("*.json")):
        last, frozen = last_release(folder)
        if _numbers(version) <= _numbers(last):
            raise ReleaseRefusedError(f"{version} is not later than the last release, {last}")
        _refuse_breaks(last, frozen, present)
    path = folder / RELEASED / f"{version}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_json(present), encoding="utf-8")
    return path


def _refuse_breaks(last: str, frozen: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    found = breaks(frozen, present)
    if found:
        lines = "\n".join(f"  {one}" for one in found)
        raise ReleaseRefusedError(f"readers of {last} would break:\n{lines}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _json(of: Mapping[str, Any]) -> str:
    return json.dumps(of, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _present(folder: Path) -> Iterator[Path]:
    """Yield the generated files that are there; releases are not among them."""
    for path in sorted((folder / "schemas").rglob("*.json")):
        if path.parent != folder / RELEASED:
            yield path.relative_to(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.generate")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="change nothing, name what is stale")
    choice.add_argument("--release", metavar="VERSION", help="freeze the schemas as a release")
    chosen = parser.parse_args(arguments)
    if chosen.check:
        found = stale()
        sys.stdout.writelines(f"{line}\n" for line in found)
        return 1 if found else 0
    if chosen.release:
        try:
            path = release(chosen.release)
        except ReleaseRefusedError as refused:
            sys.stderr.write(f"{refused}\n")
            return 1
        sys.stdout.write(f"wrote {path.relative_to(FOLDER)}\n")
        return 0
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
