"""Where the platform keeps what it writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PlatformFolder:
    """The one folder of a platform: data, logs, run state and secrets.

    Whoever has this folder has the platform: a copy of it (while it is stopped) is a backup.
    """

    root: Path

    @classmethod
    def current(cls) -> PlatformFolder:
        """The folder that `JIEYOU_HOME` names, else `.jieyou` in the current directory."""
        return cls(Path(os.environ.get("JIEYOU_HOME") or ".jieyou").absolute())

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def keys_file(self) -> Path:
        return self.root / "keys.json"

    @property
    def tokens_file(self) -> Path:
        return self.secrets / "tokens.json"

    @property
    def lock_file(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def state_file(self) -> Path:
        return self.run / "state.json"

    def create(self) -> None:
        """Make what is missing, readable by the owner alone: it holds people's requests."""
        for folder in (self.root, self.data, self.logs, self.run, self.secrets):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)


def cache_folder() -> Path:
    """Where downloads go: `JIEYOU_CACHE`, else `.cache` of the checkout, else the user's cache."""
    chosen = os.environ.get("JIEYOU_CACHE")
    if chosen:
        return Path(chosen).absolute()
    if (_REPOSITORY / "pyproject.toml").is_file():
        return _REPOSITORY / ".cache"
    return Path.home() / ".cache" / "jieyou"
