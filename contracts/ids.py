"""Identifiers that every instance computes alike, without asking anybody.

A citizen reads a case number aloud over a bad line, so it is written in Crockford's base 32
(no I, L, O, U) and ends with a check character (Luhn mod 32) that finds every single mistyped
character and nearly every swap of neighbours.
"""

import hmac
import re
from hashlib import sha256
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1c1ab6-5f0e-5d4e-9b7a-6a6965796f75")
"""The UUIDv5 name space of all ids that the contract defines."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CASE_NUMBER_LENGTH = 13
"""12 characters of 5 bits each and one check character."""
RETRIEVAL_CODE_LENGTH = 10

CASE_NUMBER_PATTERN = rf"^[{ALPHABET}]{{{CASE_NUMBER_LENGTH}}}$"

_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_HEARD_AS = str.maketrans({"O": "0", "I": "1", "L": "1"})
_SEPARATORS = re.compile(r"[\s\-–—_.]+")


def derived_id(*parts: str) -> str:
    """Return the UUIDv5 of length-prefixed parts: the same parts give the same id everywhere."""
    return str(uuid5(NAMESPACE, "|".join(f"{len(part)}:{part}" for part in parts)))


def event_id(case_no: str, document_id: str, event_type: str, cause: str, ordinal: int = 0) -> str:
    """Return the id of the event of a type that a cause has in one document of a case.

    `ordinal` tells apart several events of one type by one cause (two assisting departments).
    """
    return derived_id("event", case_no, document_id, event_type, cause, str(ordinal))


def handoff_id(case_no: str, round_: int, role: str, department: str, attempt: int) -> str:
    """Return the id of one order to one department: each order has its own."""
    return derived_id("handoff", case_no, str(round_), role, department, str(attempt))


def delivery_id(case_no: str, told_event: str, target: str) -> str:
    """Return the id of the delivery that takes one event to one target."""
    return derived_id("delivery", case_no, told_event, target)


def group_id(kind: str, cause: str) -> str:
    """Return the id of the group that a command or rule formed."""
    return derived_id("group", kind, cause)


def _check_character(characters: str) -> str:
    """Return the Luhn mod 32 check character for the characters before it."""
    total = 0
    for position, character in enumerate(reversed(characters)):
        value = _VALUE[character] * (2 if position % 2 == 0 else 1)
        total += value // 32 + value % 32
    return ALPHABET[(32 - total % 32) % 32]


def _base32(bits: int, length: int) -> str:
    return "".join(ALPHABET[(bits >> shift) & 31] for shift in range((length - 1) * 5, -1, -5))


def _digest(secret: bytes, *parts: bytes) -> int:
    """HMAC-SHA256 over length-prefixed parts, as a number."""
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return int.from_bytes(hmac.digest(secret, message, "sha256"), "big")


def case_number(secret: bytes, channel: str, idempotency_key: str) -> str:
    """Return the case number for a channel's idempotency key: 60 bits and a check character."""
    digest = _digest(secret, channel.encode(), idempotency_key.encode())
    characters = _base32(digest >> (256 - 60), CASE_NUMBER_LENGTH - 1)
    return characters + _check_character(characters)


def retrieval_code(code_secret: bytes, case_no: str, n: int = 0) -> str:
    """Return the retrieval code of a case: 50 bits. `n` counts the codes issued for the case."""
    digest = _digest(code_secret, case_no.encode(), str(n).encode())
    return _base32(digest >> (256 - 50), RETRIEVAL_CODE_LENGTH)


def is_retrieval_code(code_secret: bytes, case_no: str, n: int, given: str) -> bool:
    """Compare a code that a citizen gave in constant time; the case of letters does not matter."""
    return hmac.compare_digest(
        retrieval_code(code_secret, case_no, n).encode(),
        _as_heard(given).encode("utf-8", "replace"),
    )


def _as_heard(written: str) -> str:
    return _SEPARATORS.sub("", written).upper().translate(_HEARD_AS)


def parse_case_number(written: str) -> str | None:
    """Return the stored form of a case number as a person wrote it, or None if it is not one.

    Lower case, spaces and hyphens are accepted, and O, I, L as the digits they look like.
    """
    characters = _as_heard(written)
    if not re.match(CASE_NUMBER_PATTERN, characters):
        return None
    return characters if _check_character(characters[:-1]) == characters[-1] else None


def spoken(case_no: str) -> str:
    """Return a case number in groups of four, as it is shown and read aloud."""
    return "-".join(case_no[start : start + 4] for start in range(0, len(case_no), 4))


def digest_of(body: bytes) -> str:
    """Return the SHA-256 of a canonical body, in hexadecimal."""
    return sha256(body).hexdigest()
