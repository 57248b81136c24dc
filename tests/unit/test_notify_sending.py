"""Sending: signatures, what answers mean, which addresses may be reached, and the lanes."""

import base64
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from contracts.envelope import Event
from contracts.lifecycle import DeliveryDocument
from contracts.profile import load_profile
from contracts.telling import told_step
from contracts.vocabulary import Tier
from services.chassis.kept import Kept
from services.notify.domain.attempts import Attempted, Failure, judged, retry_after_seconds
from services.notify.domain.deliveries import (
    Patience,
    callback_id,
    leave_for_lookup,
    plan_callback,
)
from services.notify.domain.webhooks import is_signed, printed, receiver_key, signed_headers
from services.notify.lanes import InHand, Lanes
from services.notify.posting import HttpPoster, Message, is_public
from services.notify.store import host_of
from tests.notify_story import START, CaseStory

PROFILE = load_profile("zhoukou")
NOW = datetime(2022, 1, 18, 7, 0, tzinfo=UTC)


def test_signatures_are_those_of_standard_webhooks() -> None:
    """The example of the specification's reference implementation."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert is_signed(key, headers, body)
    assert not is_signed(key, headers, body + b" ")
    assert not is_signed(key, {**headers, "webhook-timestamp": "1614265331"}, body)
    assert not is_signed(key, {}, body)


def test_each_receiver_has_a_key_of_its_own() -> None:
    keys = {
        receiver_key(b"s" * 32, "channel", "app"),
        receiver_key(b"s" * 32, "channel", "web"),
        receiver_key(b"s" * 32, "department", "app"),
        receiver_key(b"t" * 32, "channel", "app"),
    }
    assert len(keys) == 4
    assert all(printed(key).startswith("whsec_") for key in keys)


@pytest.mark.parametrize(
    ("status", "failure", "is_permanent"),
    [
        (200, None, False),
        (204, None, False),
        (301, Failure.REDIRECTED, True),
        (307, Failure.REDIRECTED, True),
        (400, Failure.REFUSED, True),
        (404, Failure.REFUSED, True),
        (408, Failure.SERVER_ERROR, False),
        (425, Failure.SERVER_ERROR, False),
        (429, Failure.TOO_MANY_REQUESTS, False),
        (500, Failure.SERVER_ERROR, False),
        (503, Failure.SERVER_ERROR, False),
    ],
)
def test_what_an_answer_means(status: int, failure: Failure | None, is_permanent: bool) -> None:
    attempted = judged(status, "30", None, NOW)
    assert attempted.failure is failure
    assert (failure is not None and failure.is_permanent) is is_permanent


def test_retry_after_is_read_in_both_forms_and_bounded() -> None:
    assert retry_after_seconds("120", NOW) == 120
    assert retry_after_seconds("Tue, 18 Jan 2022 07:01:00 GMT", NOW) == 60
    assert retry_after_seconds("Tue, 18 Jan 2022 06:00:00 GMT", NOW) == 0
    assert retry_after_seconds("99999999999999999999", NOW) == 3600
    assert retry_after_seconds("soon", NOW) is None
    assert retry_after_seconds(None, NOW) is None


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("not an address", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("url", "addresses", "failure"),
    [
        ("http://inner.example/told", ["10.0.0.5"], Failure.ADDRESS_FORBIDDEN),
        ("http://mixed.example/told", ["8.8.8.8", "127.0.0.1"], Failure.ADDRESS_FORBIDDEN),
        ("ftp://files.example/told", ["8.8.8.8"], Failure.ADDRESS_INVALID),
    ],
)
async def test_a_forbidden_address_is_refused_before_anything_is_sent(
    url: str, addresses: list[str], failure: Failure
) -> None:
    async def resolve(_: str, __: int) -> list[str]:
        return addresses

    poster = HttpPoster(b"s" * 32, timeout_seconds=2, connections=1, resolve=resolve)
    message = Message("d1", url, "{}", "channel", "web", may_be_private=False)
    assert (await poster.post(message)) == Attempted(failure)
    await poster.close()


async def test_a_name_that_does_not_resolve_is_tried_again_later() -> None:
    async def resolve(_: str, __: int) -> list[str]:
        raise OSError("no such host")

    poster = HttpPoster(b"s" * 32, timeout_seconds=2, connections=1, resolve=resolve)
    message = Message("d1", "http://gone.example/", "{}", "channel", "web", may_be_private=False)
    assert (await poster.post(message)) == Attempted(Failure.NO_CONNECTION)
    await poster.close()


async def test_what_is_connected_to_is_the_address_that_was_checked() -> None:
    """A name that answers with another address the second time must not lead inside."""
    seen: list[httpx.Request] = []

    async def resolve(_: str, __: int) -> list[str]:
        return ["203.0.113.9", "8.8.8.8"] if seen else ["8.8.4.4"]

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"receipt": "r-1"})

    poster = HttpPoster(b"s" * 32, timeout_seconds=2, connections=1, resolve=resolve)
    poster._client = httpx.AsyncClient(transport=httpx.MockTransport(take))
    message = Message("d1", "https://app.example:8443/a?b=c", "{}", "channel", "web", False)
    assert (await poster.post(message)) == Attempted(receipt="r-1")
    [request] = seen
    assert request.url.host == "8.8.4.4"
    assert request.url.port == 8443
    assert request.url.raw_path == b"/a?b=c"
    assert request.headers["host"] == "app.example:8443"
    assert request.extensions["sni_hostname"] == "app.example"
    assert (await poster.post(message)).failure is Failure.ADDRESS_FORBIDDEN
    await poster.close()


def planned(story: CaseStory, event: Event) -> Kept[DeliveryDocument]:
    told = told_step(event, PROFILE)
    assert told is not None
    url = story.callback_url or ""
    kept = Kept(DeliveryDocument(callback_id(event, url), story.case_no), [], 0)
    plan_callback(
        kept,
        event,
        told,
        START,
        callback_url=url,
        channel="app",
        unit=None,
        give_up_at=START + timedelta(hours=1),
    )
    return kept


def names(begun: list[InHand]) -> list[str]:
    return [one.kept.document.step for one in begun]


def test_a_lane_goes_one_by_one_in_order_whatever_order_it_came_in() -> None:
    lanes = Lanes(at_once=10, per_host=10, longest=100)
    story = CaseStory(callback_url="https://app.example/")
    opened, answered, closed = story.opened(), story.answered(), story.finished()
    for event in (answered, closed, opened):
        assert lanes.add(planned(story, event), attempts=0)
    assert not lanes.add(planned(story, opened), attempts=0)
    [first] = lanes.take()
    assert first.kept.document.step == "accepted"
    assert lanes.take() == []
    assert lanes.done(first) == []
    [second] = lanes.take()
    assert second.kept.document.step == "answered"
    assert len(lanes.done(second, drop_lane=True)) == 1
    assert len(lanes) == 0


def test_a_host_fills_its_own_slots_only_and_memory_is_bounded() -> None:
    lanes = Lanes(at_once=10, per_host=2, longest=6)
    for _ in range(5):
        story = CaseStory(callback_url="https://slow.example/")
        lanes.add(planned(story, story.opened()), attempts=0)
    other = CaseStory(callback_url="https://quick.example/")
    assert lanes.add(planned(other, other.opened()), attempts=0)
    begun = lanes.take()
    assert sorted(one.host for one in begun) == ["quick.example", "slow.example", "slow.example"]
    assert lanes.busy_hosts == ["slow.example"]
    beyond = CaseStory(callback_url="https://quick.example/")
    assert lanes.room == 0
    assert not lanes.add(planned(beyond, beyond.opened()), attempts=0)


def test_an_address_that_is_none_stops_nobody_else() -> None:
    story = CaseStory(callback_url="http://[broken")
    assert host_of(planned(story, story.opened()).document) == "?"


def test_what_is_left_for_lookup_is_told_without_an_attempt() -> None:
    story = CaseStory()
    event = story.answered()
    told = told_step(event, PROFILE)
    assert told is not None
    kept = Kept(DeliveryDocument(callback_id(event, None), story.case_no), [], 0)
    leave_for_lookup(kept, event, told, START)
    assert (kept.document.state, kept.document.by, kept.document.attempts) == ("done", "lookup", 0)


def test_one_event_has_one_delivery_to_an_address() -> None:
    story = CaseStory(callback_url="https://app.example/")
    event = story.opened()
    assert callback_id(event, story.callback_url) == callback_id(event, story.callback_url)
    assert callback_id(event, "https://other.example/") != callback_id(event, story.callback_url)
    assert callback_id(story.answered(), story.callback_url) != callback_id(event, None)


def test_red_cases_reach_a_person_soonest() -> None:
    patience = Patience(timedelta(minutes=30), timedelta(hours=4), timedelta(days=1))
    assert patience.of(Tier.RED) < patience.of(None) == patience.of(Tier.ORANGE)
    assert patience.of(Tier.BLUE) == timedelta(days=1)
