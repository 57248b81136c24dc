"""What notify is told beside what every service is told."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from services.chassis.settings import HexSecret, ServiceSettings
from services.notify.domain.deliveries import Patience


def _web_addresses(urls: dict[str, str]) -> dict[str, str]:
    for url in urls.values():
        if not url.startswith(("https://", "http://")):
            raise ValueError("every department's address must begin with https:// or http://")
    return urls


class NotifySettings(ServiceSettings):
    """The settings of notify. Units stand in the names."""

    service: ClassVar[str] = "notify"

    webhook_secret: HexSecret
    department_urls: Annotated[dict[str, str], AfterValidator(_web_addresses)] = Field(
        default_factory=dict, examples=['{"hotline-12345":"https://…"}']
    )
    sends_at_once: int = Field(64, ge=1, le=1_000, examples=["64"])
    sends_per_target: int = Field(8, ge=1, le=100, examples=["8"])
    send_timeout_seconds: float = Field(10.0, gt=0, le=60, examples=["10"])
    first_retry_seconds: float = Field(2.0, gt=0, le=600, examples=["2"])
    longest_retry_seconds: float = Field(300.0, gt=0, le=3_600, examples=["300"])
    lease_seconds: float = Field(20.0, gt=0, le=600, examples=["20"])
    scan_seconds: float = Field(1.0, gt=0, le=60, examples=["1"])
    give_up_red_minutes: float = Field(30.0, gt=0, examples=["30"])
    give_up_orange_minutes: float = Field(240.0, gt=0, examples=["240"])
    give_up_blue_minutes: float = Field(1_440.0, gt=0, examples=["1440"])

    @property
    def secret(self) -> bytes:
        """The secret from which the keys of receivers are derived."""
        return bytes.fromhex(self.webhook_secret.get_secret_value())

    @property
    def patience(self) -> Patience:
        """How long messages are tried, by tier."""
        return Patience(
            red=timedelta(minutes=self.give_up_red_minutes),
            orange=timedelta(minutes=self.give_up_orange_minutes),
            blue=timedelta(minutes=self.give_up_blue_minutes),
        )
