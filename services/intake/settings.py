"""What intake is told, beyond what every service is told."""

from typing import ClassVar

from pydantic import Field, HttpUrl

from services.chassis.settings import HexSecret, ServiceSettings


class IntakeSettings(ServiceSettings):
    """The case secret never changes: with another one the same key gives another case number."""

    service: ClassVar[str] = "intake"

    case_secret: HexSecret
    code_secret: HexSecret
    code_secret_version: int = Field(1, ge=1, examples=["1"])
    public_url: HttpUrl = Field(
        HttpUrl("http://127.0.0.1:8804"), examples=["https://jieyou.example.cn"]
    )
    """Where citizens look their case up (reporting, as seen from outside)."""
    spool_limit: int = Field(50_000, ge=1, le=10_000_000, examples=["50000"])
    """How many records may wait for the bus; beyond it requests are refused with 503."""
    spool_limit_minutes: float = Field(60.0, gt=0, le=1_440, examples=["60"])
    """How long one may wait; beyond it likewise."""
    store_timeout_seconds: float = Field(2.0, gt=0, le=60, examples=["2"])

    @property
    def case_key(self) -> bytes:
        """The case secret's bytes."""
        return bytes.fromhex(self.case_secret.get_secret_value())

    @property
    def code_key(self) -> bytes:
        """The code secret's bytes."""
        return bytes.fromhex(self.code_secret.get_secret_value())
