"""What channels and citizens may send, field by field; what is wrong is said in Chinese.

What depends on the profile, the channel or the time is checked with the rest, so that one answer
names every wrong field: the checks are given as `CheckedAgainst` in pydantic's context.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    ValidationInfo,
    field_validator,
    model_validator,
)

from contracts.profile import Profile
from services.intake.domain.callbacks import callback_trouble
from services.intake.domain.phone import normalised
from services.intake.domain.writing import cleaned

TEXT_LIMIT = 4_000
_AHEAD = timedelta(minutes=5)
"""How far a sender's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class CheckedAgainst:
    """What the fields of a submission are checked against."""

    profile: Profile
    allow_private_callbacks: bool
    now: datetime


def _clean(value: object) -> object:
    return cleaned(value) if isinstance(value, str) else value


def _clean_or_none(value: object) -> object:
    return (cleaned(value) or None) if isinstance(value, str) else value


def _not_blank(value: str) -> str:
    if not value:
        raise ValueError("不能为空")
    return value


Words = Annotated[
    str, Field(max_length=TEXT_LIMIT), BeforeValidator(_clean), AfterValidator(_not_blank)
]
ShortWords = Annotated[
    Annotated[str, Field(max_length=100)] | None, BeforeValidator(_clean_or_none)
]
Line = Annotated[Annotated[str, Field(max_length=300)] | None, BeforeValidator(_clean_or_none)]
LongWords = Annotated[
    Annotated[str, Field(max_length=1_000)] | None, BeforeValidator(_clean_or_none)
]


class Body(BaseModel):
    """A JSON body. An unknown field is an error: a mistyped name would be lost unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LocationBody(Body):
    """Where help is needed; WGS 84."""

    address: Line = None
    lat: Annotated[float | None, Field(ge=-90, le=90, allow_inf_nan=False)] = None
    lon: Annotated[float | None, Field(ge=-180, le=180, allow_inf_nan=False)] = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat 和 lon 应同时填写")
        return self


class ContactBody(Body):
    """Whom to ring back."""

    name: ShortWords = None
    phone: ShortWords = None

    @field_validator("phone")
    @classmethod
    def _can_be_rung(cls, value: str | None) -> str | None:
        if value is None:
            return None
        number = normalised(value)
        if number is None:
            raise ValueError("不是有效的电话号码，例如 13800001234 或 0394-8000000")
        return number


class OnBehalfOfBody(Body):
    """代求助: for whom somebody else writes. Age in years, parts of one for infants."""

    relation: ShortWords = None
    age: Annotated[float | None, Field(ge=0, le=150, allow_inf_nan=False)] = None
    situation: LongWords = None


class SubmissionBody(Body):
    """`POST /v1/requests`."""

    text: Words
    category: str | None = None
    region: str | None = None
    location: LocationBody | None = None
    contact: ContactBody | None = None
    on_behalf_of: OnBehalfOfBody | None = None
    occurred_at: Annotated[AwareDatetime | None, Field(strict=False)] = None
    external_id: Line = None
    callback_url: Annotated[HttpUrl | None, Field(strict=False)] = None

    @field_validator("category")
    @classmethod
    def _is_a_category(cls, value: str | None, info: ValidationInfo) -> str | None:
        known = _against(info).profile.categories_by_code
        if value is not None and value not in known:
            raise ValueError(f"没有这个类别，应为以下之一：{'、'.join(known)}")
        return value

    @field_validator("region")
    @classmethod
    def _is_a_region(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value not in _against(info).profile.regions_by_code:
            raise ValueError("没有这个地区代码，可用的代码见 /v1/profile")
        return value

    @field_validator("occurred_at")
    @classmethod
    def _is_past(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        try:
            ahead = value is not None and value > _against(info).now + _AHEAD
        except OverflowError:
            ahead = True
        if ahead or (value is not None and value.year < 1900):
            raise ValueError("不应晚于现在，也不应早于 1900 年")
        return value

    @field_validator("callback_url")
    @classmethod
    def _may_be_called(cls, value: HttpUrl | None, info: ValidationInfo) -> HttpUrl | None:
        against = _against(info)
        trouble = value and callback_trouble(value, against.allow_private_callbacks)
        if trouble:
            raise ValueError(trouble)
        return value

    def all_words(self) -> str:
        """Return all that may show danger; what stands in the text keeps its place."""
        situation = self.on_behalf_of.situation if self.on_behalf_of else None
        return f"{self.text}\n{situation}" if situation else self.text


class SupplementBody(Body):
    """补充: something that the citizen adds."""

    text: Words


class WithdrawalBody(Body):
    """撤回, with a reason or without."""

    reason: LongWords = None


class RatingBody(Body):
    """评价: 5 is 很满意, 1 很不满意; and whether it was really solved."""

    level: Annotated[int, Field(ge=1, le=5)]
    solved: bool
    comment: LongWords = None


class ErasureBody(Body):
    """删除: nothing need be said."""


def _against(info: ValidationInfo) -> CheckedAgainst:
    if not isinstance(info.context, CheckedAgainst):
        raise TypeError("a submission is read with the context it is checked against")
    return info.context
