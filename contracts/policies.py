"""`policies.v1`, written by triage: policy passages, each a whole document under its id."""

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field

from contracts.vocabulary import Instant


class Policy(BaseModel):
    """A policy as it is shown and quoted. A null value in the topic takes it down."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    policy_id: str = Field(min_length=1, max_length=100)
    version: int = Field(ge=1)
    title: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=20_000)
    source: str = Field(min_length=1, max_length=200)
    url: AnyHttpUrl | None = None
    category: str
    regions: tuple[str, ...] = ()
    valid_from: Instant
    valid_until: Instant | None = None
