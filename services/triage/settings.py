"""Settings of triage, beside those of every service."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from services.chassis.settings import ServiceSettings

SHIPPED_MODEL = Path(__file__).resolve().parent / "model"


class TriageSettings(ServiceSettings):
    """What triage is told."""

    service: ClassVar[str] = "triage"

    model_folder: Path = Field(SHIPPED_MODEL, examples=["/srv/jieyou/model"])
    claim_minutes: int = Field(15, ge=1, le=240, examples=["15"])
    parked_alarm_minutes: int = Field(10, ge=1, le=1_440, examples=["10"])
