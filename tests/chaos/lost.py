"""A service's database dropped under it, and the command that brings it back."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass

from pymongo import AsyncMongoClient

from deploy.local.folders import PlatformFolder


@dataclass(frozen=True, slots=True)
class Restored:
    """What the command came to."""

    is_whole: bool
    note: str


async def drop(mongo_url: str, database: str) -> None:
    """Drop a database whole."""
    async with AsyncMongoClient[dict[str, object]](mongo_url) as client:
        await client.drop_database(database)


async def restore(folder: PlatformFolder, service: str) -> Restored:
    """Run `jieyou restore`; what a process wrote before it noticed is thrown away."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli", "restore", service, "--yes", "--json"),
        env={**os.environ, "JIEYOU_HOME": str(folder.root)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        said = (errors.decode().strip().splitlines() or ["it said nothing"])[-1]
        return Restored(False, f"NOT RESTORED: {said}")
    outcome = json.loads(output)
    documents = sum(outcome["documents"].values())
    return Restored(True, f"{documents} documents in {outcome['seconds']:.1f} s")
