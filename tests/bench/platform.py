"""A platform of its own for a measurement, in a folder that goes away."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local import control, credentials
from deploy.local.control import Addresses
from deploy.local.folders import PlatformFolder
from deploy.local.platform import PlatformOptions, plan


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running platform answers, and the keys to it."""

    folder: PlatformFolder
    addresses: Addresses
    tokens: dict[str, dict[str, str]]

    def url(self, service: str) -> str:
        """The address of a service's first instance."""
        return self.addresses.services[service][0]

    def key(self, kind: str, name: str) -> dict[str, str]:
        """The header that a caller of this kind and name sends."""
        return {"Authorization": f"Bearer {self.tokens[kind][name]}"}


@contextmanager
def platform(profile: str = "zhoukou", scale: dict[str, int] | None = None) -> Iterator[Running]:
    """Start everything, yield it, and stop it again."""
    with tempfile.TemporaryDirectory(prefix="jieyou-") as name:
        folder = PlatformFolder(Path(name) / "home")
        folder.root.mkdir(parents=True)
        control.start(folder, plan(folder, PlatformOptions(profile, scale or {})))
        try:
            yield Running(folder, control.addresses(folder), credentials.read_tokens(folder))
        finally:
            control.stop(folder)
