"""The embedded store: SecantusDB's MongoDB-protocol server, a separate program.

It is never imported: only its command line, as its wheel installs it, is run.
"""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path

from deploy.local.errors import PlatformError

USUAL_PORT = 27017
_DISTRIBUTION = "secantusdb"
_ENTRY_POINT = "secantus.cli:main"
_INTERNAL_ERROR = 1


def server_program() -> Path:
    """The server's program: the console script whose entry point is the server's `main`.

    Raises PlatformError when the optional package is not installed.
    """
    try:
        installed = metadata.distribution(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise PlatformError(
            "the local store is not installed: run `make setup`, "
            "or set JIEYOU_MONGO_URL to a MongoDB"
        ) from None
    for entry_point in installed.entry_points:
        if entry_point.group == "console_scripts" and entry_point.value == _ENTRY_POINT:
            beside_python = Path(sys.executable).with_name(entry_point.name)
            found = shutil.which(beside_python) or shutil.which(entry_point.name)
            if found:
                return Path(found)
    raise PlatformError(
        f"{_DISTRIBUTION} {installed.version} has no server program: run `make setup` again"
    )


def run_command(port: int, folder: Path, host: str = "127.0.0.1") -> list[str]:
    """The command that runs the store until SIGTERM, its data in `folder`.

    `--sync-on-commit` is not optional: without it each kill -9 lost acknowledged writes.
    `--standalone` spares what nobody here uses (change streams): a fifth of an update's work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address = ["--host", host, "--port", str(port)]
    # A configuration file found by chance elsewhere on the machine must not change the store.
    configuration = folder.with_name(f"{folder.name}.toml")
    configuration.touch()
    return [
        *(str(server_program()), "--config", str(configuration), *address),
        *("--storage-path", str(folder), "--sync-on-commit", "--cache-size", "256M"),
        "--standalone",
        *("--log-level", "WARNING"),
    ]


def url(port: int, host: str = "127.0.0.1") -> str:
    """The connection string of a store on this port."""
    return f"mongodb://{host}:{port}/?directConnection=true"


def end_open_transactions(port: int, host: str = "127.0.0.1") -> bool:
    """End every transaction that is open now; whether the store did so.

    A killed process leaves its transaction open for 60 s, and all that while it holds the documents
    that it changed from everybody else. Those of living processes are begun again by them.
    """
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        with MongoClient[dict[str, object]](
            url(port, host), serverSelectionTimeoutMS=1_000, socketTimeoutMS=2_000
        ) as client:
            client.admin.command("killAllSessions", [])
    except PyMongoError:
        return False
    return True


def must_restart(port: int, host: str = "127.0.0.1") -> bool:
    """Whether the store answers, and what it answers to the simplest read is a fault of its own.

    After its disk was full its engine says "the process must exit and restart", but the process
    stays, listens and even answers pings, and nothing works any more.
    """
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure, PyMongoError

    try:
        with MongoClient[dict[str, object]](
            url(port, host), serverSelectionTimeoutMS=1_000, socketTimeoutMS=1_000
        ) as client:
            client["jieyou_supervisor"]["probe"].find_one({"_id": 0})
    except OperationFailure as error:
        return error.code == _INTERNAL_ERROR
    except PyMongoError:
        return False
    return False
