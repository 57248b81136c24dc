"""HTTP as all services speak it: problems (RFC 9457), health, callers and their keys."""

from services.chassis.http.app import make_app
from services.chassis.http.callers import require
from services.chassis.http.health import Check, Health
from services.chassis.http.problems import (
    Conflict,
    FieldError,
    Forbidden,
    Internal,
    Invalid,
    Malformed,
    MethodNotAllowed,
    NotFound,
    Problem,
    Stale,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from services.chassis.keys import Caller

__all__ = [
    "Caller",
    "Check",
    "Conflict",
    "FieldError",
    "Forbidden",
    "Health",
    "Internal",
    "Invalid",
    "Malformed",
    "MethodNotAllowed",
    "NotFound",
    "Problem",
    "Stale",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "make_app",
    "require",
]
