"""Settings of reporting, beside those of every service."""

from typing import ClassVar

from pydantic import Field

from services.chassis.settings import HexSecret, ServiceSettings


class ReportingSettings(ServiceSettings):
    """What reporting is told. The code secret is intake's: by it a citizen's code is checked."""

    service: ClassVar[str] = "reporting"

    code_secret: HexSecret
    batch_records: int = Field(1_000, ge=1, le=5_000, examples=["1000"])
    batch_pause_seconds: float = Field(0.3, ge=0, le=5, examples=["0.3"])
    """Waited after a batch that was not full: what happens to a case comes in bursts, and a case
    that is written once for five events costs a fifth."""
    cached_cases: int = Field(3_000, ge=1, le=200_000, examples=["3000"])
    """Cases kept parsed in memory, about 40 kB each."""

    @property
    def code_key(self) -> bytes:
        """The code secret's bytes."""
        return bytes.fromhex(self.code_secret.get_secret_value())
