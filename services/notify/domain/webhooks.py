"""Signing of webhooks after Standard Webhooks (standardwebhooks.com, version 1).

Each receiver has a key of its own, derived from the platform's secret, so that one receiver
cannot sign for another and no key needs to be stored:

    key = HMAC-SHA256(JIEYOU_WEBHOOK_SECRET, "webhook" ‖ kind ‖ code), each part length-prefixed,

where kind is `channel` or `department`. Receivers are given it as `whsec_<base64>`.
"""

import base64
import hmac
from typing import Literal

ReceiverKind = Literal["channel", "department"]


def receiver_key(secret: bytes, kind: ReceiverKind, code: str) -> bytes:
    """Return the signing key of a channel or department."""
    parts = (b"webhook", kind.encode(), code.encode())
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(secret, message, "sha256")


def printed(key: bytes) -> str:
    """Return a key in the form in which receivers configure it."""
    return "whsec_" + base64.b64encode(key).decode()


def signed_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a webhook. `timestamp` is in seconds of Unix time."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def is_signed(key: bytes, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures in the headers is that of the body. Age is the caller's."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit():
        return False
    expected = signed_headers(key, message_id, int(timestamp), body)["webhook-signature"]
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in given)
