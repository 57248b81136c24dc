"""Kafka's jars: fetched once with jgo, exactly those of the committed lock, checked by sha256.

`python -m deploy.local.jars fetch` brings them into the cache (part of `make setup`);
`python -m deploy.local.jars lock` resolves the coordinates anew and rewrites the lock.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import PlatformError
from deploy.local.folders import cache_folder

LOCK_FILE = Path(__file__).with_name("kafka-jars.lock")
KAFKA = "org.apache.kafka:kafka_2.13:4.4.0"
# Binds Kafka's SLF4J logging to its log4j; without it the broker is silent. Taken by itself: were
# it resolved together with Kafka, the versions that its parent manages would replace Kafka's own.
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:{log4j_version}"
_PARALLEL_DOWNLOADS = 8


@dataclass(frozen=True)
class LockedJar:
    """One line of the lock: group, artifact, version and the sha256 of the jar."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def read_lock(lock_file: Path = LOCK_FILE) -> list[LockedJar]:
    """The jars of a lock file. Raises PlatformError when a line cannot be read."""
    jars = []
    for number, line in enumerate(lock_file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        coordinate, _, digest = line.partition(" sha256:")
        parts = coordinate.split(":")
        if len(parts) != 3 or len(digest) != 64:
            raise PlatformError(
                f"{lock_file.name} line {number} is not 'group:artifact:version sha256:digest'; "
                "restore the file from the repository"
            )
        group, artifact, version = parts
        jars.append(LockedJar(group, artifact, version, digest))
    return jars


def ensure_jars(lock_file: Path = LOCK_FILE, cache: Path | None = None) -> Path:
    """The folder with every jar of the lock, each one verified; what is missing is downloaded.

    All jars are hashed each time (43 MB, 0.2 s): what runs is what the lock says.
    Raises PlatformError when a jar has another digest or cannot be fetched.
    """
    locked = read_lock(lock_file)
    folder = (cache or cache_folder()) / "kafka-jars"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in locked if not (folder / jar.file_name).is_file()]
    if missing:
        _download(missing, folder)
    expected = {jar.file_name for jar in locked}
    for stray in folder.glob("*.jar"):
        if stray.name not in expected:  # the class path is the whole folder
            stray.unlink()
    for jar in locked:
        _verify(jar, folder / jar.file_name)
    return folder


def _verify(jar: LockedJar, path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != jar.sha256:
        raise PlatformError(
            f"{path} has sha256 {digest[:16]}… but {LOCK_FILE.name} says {jar.sha256[:16]}…: "
            "delete the file and run `make setup` again"
        )


def _download(jars: list[LockedJar], folder: Path) -> None:
    """Fetch jars into a scratch repository and move each into `folder` once it is verified."""
    from jgo.maven import MavenContext
    from requests import RequestException

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos=_repositories(), timeout=60)

        def fetch(jar: LockedJar) -> None:
            component = context.project(jar.group, jar.artifact).at_version(jar.version)
            try:
                path = Path(component.artifact().resolve())
            except (RequestException, RuntimeError, OSError) as error:
                raise PlatformError(
                    f"cannot download {jar.file_name} ({type(error).__name__}): check the network "
                    "and the certificates (REQUESTS_CA_BUNDLE), then run `make setup` again"
                ) from error
            _verify(jar, path)
            shutil.move(path, folder / jar.file_name)

        with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
            list(pool.map(fetch, jars))


def _repositories() -> dict[str, str]:
    """Maven Central and what the user's own jgo configuration names (`central`: a mirror of it)."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL

    return {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}


def write_lock(lock_file: Path = LOCK_FILE) -> None:
    """Resolve KAFKA with all it needs and LOG_BINDING, and write their digests to the lock file."""
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos=_repositories(), timeout=60)
        kafka = context.create_dependency(KAFKA)
        inputs, needed = context.resolver.resolve([kafka])
        artifacts = [dependency.artifact for dependency in (*inputs, *needed)]
        log4j = next(artifact for artifact in artifacts if artifact.artifactId == "log4j-core")
        binding = LOG_BINDING.format(log4j_version=log4j.version)
        artifacts.append(context.create_dependency(binding).artifact)
        lines = set()
        for artifact in artifacts:
            digest = hashlib.sha256(Path(artifact.resolve()).read_bytes()).hexdigest()
            coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            lines.add(f"{coordinate} sha256:{digest}")
    header = "# Written by `python -m deploy.local.jars lock`; every jar of the local Kafka.\n"
    lock_file.write_text(header + "\n".join(sorted(lines)) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """`fetch` (the default) or `lock`; prints one line and returns the exit code."""
    try:
        if arguments[:1] == ["lock"]:
            write_lock()
            print(f"{LOCK_FILE.name}: {len(read_lock())} jars")
        else:
            folder = ensure_jars()
            print(f"Kafka: {len(list(folder.glob('*.jar')))} jars verified")
    except PlatformError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
