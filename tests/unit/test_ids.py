"""Identifiers: the same everywhere, and safe to read aloud."""

import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contracts import ids

SECRET = b"a secret for tests"
NUMBERS = st.text(string.ascii_letters, min_size=1).map(
    lambda key: ids.case_number(SECRET, "app", key)
)
CHARACTERS = st.sampled_from(ids.ALPHABET)
UNHURRIED = settings(deadline=None)
PLACES = st.integers(0, ids.CASE_NUMBER_LENGTH - 1)


def test_numbers_codes_and_ids_are_the_committed_ones() -> None:
    """Stored numbers and logs rest on these values: if one changes, old cases are lost."""
    number = ids.case_number(SECRET, "zhoukou-app", "key-1")
    assert number == "ZYH98NTVZ9TQ3"
    assert ids.retrieval_code(SECRET, number) == "M5MEH2DBDQ"
    assert ids.retrieval_code(SECRET, number, 1) == "5BVQ54PKQA"
    assert (
        ids.event_id(number, number, "case.opened", "event:x")
        == "f3aaf178-af16-53fe-91ea-f3d80f85a839"
    )
    assert ids.handoff_id(number, 0, "lead", "health", 1) == "72d95ad8-f670-5a17-b986-d4a133dc95a5"
    assert ids.delivery_id(number, "told", "app") == "6bfceb26-9786-5dc9-b286-8101a5626b9a"
    assert ids.group_id("same_event", "command:1") == "653053d3-5246-5592-b7a6-efcf0a2977ca"


@given(NUMBERS)
@UNHURRIED
def test_a_number_has_60_bits_and_a_check_character(number: str) -> None:
    assert len(number) == ids.CASE_NUMBER_LENGTH
    assert set(number) <= set(ids.ALPHABET)
    assert ids.parse_case_number(number) == number


@given(NUMBERS, PLACES, CHARACTERS)
@UNHURRIED
def test_every_single_wrong_character_is_found(number: str, place: int, character: str) -> None:
    assume(number[place] != character)
    wrong = number[:place] + character + number[place + 1 :]
    assert ids.parse_case_number(wrong) is None


def test_every_swap_of_neighbours_is_found_except_0_with_z() -> None:
    """Luhn mod 32 doubles every second character; 0 and Z (31) weigh the same either way."""
    missed = set()
    for place in range(ids.CASE_NUMBER_LENGTH - 2):
        for first in ids.ALPHABET:
            for second in ids.ALPHABET:
                payload = "7" * place + first + second + "7" * (10 - place)
                number = payload + ids._check_character(payload)
                swapped = number[:place] + second + first + number[place + 2 :]
                if first != second and ids.parse_case_number(swapped):
                    missed.add(frozenset((first, second)))
    assert missed == {frozenset("0Z")}


@given(NUMBERS)
@UNHURRIED
def test_a_swap_with_the_check_character_is_found_too(number: str) -> None:
    last, check = number[-2], number[-1]
    assume(last != check and {last, check} != {"0", "Z"})
    assert ids.parse_case_number(number[:-2] + check + last) is None


@given(NUMBERS, st.sampled_from(["-", " ", "–", "—", "_", ".", "\u3000", "\n"]))
@UNHURRIED
def test_a_number_is_read_as_people_write_it(number: str, separator: str) -> None:
    written = separator.join(ids.spoken(number).split("-")).lower()
    assert ids.parse_case_number(f" {written}{separator}") == number
    heard = number.replace("0", "O").replace("1", "l", 1).replace("1", "I")
    assert ids.parse_case_number(heard) == number


@pytest.mark.parametrize(
    "written", ["", "-", "0" * 12, "0" * 14, "U" * 13, "求" * 13, "0" * 12 + "1"]
)
def test_what_is_no_number_is_not_read(written: str) -> None:
    assert ids.parse_case_number(written) is None


@given(st.text(), st.text(), st.text(), st.text())
@UNHURRIED
def test_channel_and_key_do_not_run_into_each_other(a: str, b: str, c: str, d: str) -> None:
    assume((a, b) != (c, d))
    assume(not any("\ud800" <= x <= "\udfff" for x in a + b + c + d))
    assert ids.case_number(SECRET, a, b) != ids.case_number(SECRET, c, d)
    assert ids.derived_id(a, b) != ids.derived_id(c, d)


def test_another_secret_gives_another_number() -> None:
    assert ids.case_number(SECRET, "app", "1") != ids.case_number(b"another", "app", "1")


@given(NUMBERS)
@UNHURRIED
def test_a_retrieval_code_opens_its_own_case_only(number: str) -> None:
    code = ids.retrieval_code(SECRET, number)
    assert len(code) == ids.RETRIEVAL_CODE_LENGTH
    assert ids.is_retrieval_code(SECRET, number, 0, code)
    assert ids.is_retrieval_code(SECRET, number, 0, f" {code[:5].lower()}-{code[5:]}")
    assert not ids.is_retrieval_code(SECRET, number, 1, code)
    assert not ids.is_retrieval_code(b"another", number, 0, code)
    other = ids.case_number(SECRET, "app", "another case")
    assert not ids.is_retrieval_code(SECRET, other, 0, code)


@pytest.mark.parametrize("given_code", ["", "求助", "\ud800", "0" * 11])
def test_a_wrong_code_is_refused_whatever_it_holds(given_code: str) -> None:
    number = ids.case_number(SECRET, "app", "1")
    assert not ids.is_retrieval_code(SECRET, number, 0, given_code)


def test_one_cause_can_have_several_events_of_a_type() -> None:
    several = {ids.event_id("c", "c", "handoff.ordered", "command:1", n) for n in range(5)}
    assert len(several) == 5
    assert ids.event_id("c", "d", "t", "x") != ids.event_id("c", "c", "t", "x")
