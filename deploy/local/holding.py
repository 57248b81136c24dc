"""Holding services of the local platform: ended in an orderly way, and not started while held.

A hold is a file in the platform's run folder that names its holder. The supervisor looks for such
files several times a second. A holder that is killed leaves its hold behind, so that a service does
not start into what is half done; the next command of the kind takes it over, and `jieyou up`
removes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path

from deploy.local.errors import PlatformError
from deploy.local.folders import PlatformFolder
from deploy.local.state import Condition, Identity, ProcessState, read_state

_PREFIX, _SUFFIX = "held-", ".json"
_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.05


def held_services(folder: PlatformFolder) -> frozenset[str]:
    """The services that are held now, whoever holds them."""
    return frozenset(
        path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        for path in folder.run.glob(f"{_PREFIX}*{_SUFFIX}")
    )


def service_of(process_name: str) -> str:
    """The service of an instance: `triage` of `triage-1`."""
    return process_name.rpartition("-")[0]


@contextlib.contextmanager
def held(folder: PlatformFolder, services: Collection[str]) -> Iterator[list[ProcessState]]:
    """Hold services of the platform that runs in the folder; their processes have ended when this
    is entered, and are started again when it is left.

    Yields the processes that are held, none where no platform runs. Raises PlatformError when
    another command holds one of them, or they do not end.
    """
    taken: list[str] = []
    try:
        for service in sorted(services):
            _take(folder, service)
            taken.append(service)
        yield _until_ended(folder, frozenset(services))
    finally:
        for service in taken:
            _file(folder, service).unlink(missing_ok=True)


def release_abandoned(folder: PlatformFolder) -> list[str]:
    """Remove holds whose holder is dead; returns the services."""
    abandoned = sorted(one for one in held_services(folder) if _holder(folder, one) is None)
    for service in abandoned:
        _file(folder, service).unlink(missing_ok=True)
    return abandoned


def _file(folder: PlatformFolder, service: str) -> Path:
    return folder.run / f"{_PREFIX}{service}{_SUFFIX}"


def _take(folder: PlatformFolder, service: str) -> None:
    """Write the hold: under its own name at once, or not at all."""
    path = _file(folder, service)
    mine = path.with_name(f".{path.name}.{os.getpid()}")
    mine.write_text(json.dumps(asdict(Identity.of(os.getpid()))), encoding="utf-8")
    try:
        while True:
            try:
                os.link(mine, path)
            except FileExistsError:
                holder = _holder(folder, service)
                if holder is not None:
                    raise PlatformError(
                        f"{service} is held by another command (pid {holder.pid}): wait for its end"
                    ) from None
                path.unlink(missing_ok=True)
            else:
                return
    finally:
        mine.unlink()


def _holder(folder: PlatformFolder, service: str) -> Identity | None:
    """Who holds a service, if it still runs."""
    try:
        content = json.loads(_file(folder, service).read_text(encoding="utf-8"))
        holder = Identity(int(content["pid"]), float(content["started_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return holder if holder.process() is not None else None


def _until_ended(folder: PlatformFolder, services: frozenset[str]) -> list[ProcessState]:
    deadline = time.monotonic() + _WITHIN_S
    while True:
        state = read_state(folder.state_file)
        if state is None or not state.is_alive:
            return []
        own = [one for one in state.processes if service_of(one.name) in services]
        if all(one.condition is Condition.HELD for one in own):
            return own
        if time.monotonic() > deadline:
            slow = next(one.name for one in own if one.condition is not Condition.HELD)
            raise PlatformError(f"{slow} does not end: see {folder.logs}/supervisor.log")
        time.sleep(_LOOK_EVERY_S)
