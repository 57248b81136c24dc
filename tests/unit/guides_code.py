"""What the guides are compared with: the services' calls, forms and settings, as code has them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from fastapi import FastAPI
from pydantic import BaseModel, SecretStr

from contracts.feeds import ACTS
from contracts.profile import load_profile
from services.chassis.keys import KeyFile
from services.chassis.settings import ServiceSettings
from services.intake.app import make_intake
from services.intake.domain import bodies
from services.intake.settings import IntakeSettings
from services.notify.app import make_notify
from services.notify.settings import NotifySettings
from services.reporting.app import make_reporting
from services.reporting.settings import ReportingSettings
from services.triage import forms
from services.triage.app import build
from services.triage.settings import TriageSettings

SECRET = "0f" * 32
SETTINGS: dict[str, type[ServiceSettings]] = {
    "service": ServiceSettings,
    "intake": IntakeSettings,
    "triage": TriageSettings,
    "notify": NotifySettings,
    "reporting": ReportingSettings,
}
DESK_FORMS: dict[str, type[BaseModel] | None] = {
    "claim": None,
    "release": None,
    "answer": forms.AnswerForm,
    "not-accept": forms.NotAcceptForm,
    "inquire": forms.InquireForm,
    "inquiry-answer": forms.InquiryAnswerForm,
    "reclassify": forms.ReclassifyForm,
    "judge": forms.JudgeForm,
    "handoff": forms.GiveForm,
    "urge": forms.UrgeForm,
    "extension": forms.ExtensionForm,
    "withdrawal": forms.WithdrawalForm,
    "erasure": forms.ErasureForm,
    "accept-result": forms.AcceptResultForm,
    "visit": forms.VisitForm,
    "contact": forms.ContactForm,
    "supervise": forms.SuperviseForm,
    "supervision-reply": forms.SupervisionReplyForm,
    "settle": forms.SettleForm,
}
BODIES: dict[str, type[BaseModel]] = {
    "/v1/requests/{case_no}/supplements": bodies.SupplementBody,
    "/v1/requests/{case_no}/withdrawal": bodies.WithdrawalBody,
    "/v1/requests/{case_no}/rating": bodies.RatingBody,
    **{f"/v1/desk/cases/{{case_no}}/{act}": form for act, form in DESK_FORMS.items() if form},
}
Calls = dict[tuple[str, str], set[str]]


@lru_cache(maxsize=1)
def apps() -> tuple[FastAPI, ...]:
    """Return the four applications as they are run, connected to nothing."""
    profile, keys = load_profile("zhoukou"), KeyFile("no-such-file.json")
    secret = SecretStr(SECRET)
    triage, _, _ = build(TriageSettings())
    return (
        make_intake(IntakeSettings(case_secret=secret, code_secret=secret), profile, keys).app,
        triage,
        make_notify(NotifySettings(webhook_secret=secret), profile, keys).app,
        make_reporting(ReportingSettings(code_secret=secret), profile, keys).app,
    )


@lru_cache(maxsize=1)
def calls() -> Calls:
    """Return every call, by method and path, with its parameters and headers in lower case."""
    found: Calls = {("GET", path): set() for path in ("/health/live", "/health/ready", "/metrics")}
    found["GET", "/openapi.json"] = set()
    for app in apps():
        for path, operations in app.openapi()["paths"].items():
            for method, operation in operations.items():
                parameters = {one["name"].lower() for one in operation.get("parameters", ())}
                for full, own in _with_acts(path):
                    found[method.upper(), full] = parameters | own
    return found


def _with_acts(path: str) -> Iterator[tuple[str, set[str]]]:
    """A path with `{act}` stands for itself and for one path for each act, each with its key."""
    if not path.endswith("{act}"):
        yield path, set()
        return
    for act in ("{act}", *ACTS):
        yield path.replace("{act}", act), {"idempotency-key"}
