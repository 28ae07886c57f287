"""The brake on sign-ins: what it counts as one client, whom it holds, and whom nobody can have it hold."""

from __future__ import annotations

import pytest

from twinward.access.errors import TooManyAttempts
from twinward.console.sign_in_gate import (
    ACCOUNT_WINDOW_MS,
    BROWSER_LIFETIME_MS,
    PER_ACCOUNT,
    PER_ADDRESS,
    PER_BROWSER,
    PER_PAIR,
    SignInGate,
    network_of,
)
from twinward.core.clock import FixedClock

KEY = bytes(32)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def gate(clock: FixedClock) -> SignInGate:
    return SignInGate(clock, KEY)


def held(gate: SignInGate, address: str, account: str = "olga", cookie: str = "") -> bool:
    try:
        gate.admit(address, account, cookie)
    except TooManyAttempts:
        return True
    return False


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("testclient", "unknown", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_one_address_cannot_lock_an_account_for_others(gate: SignInGate) -> None:
    assert [held(gate, "198.51.100.1") for _ in range(PER_PAIR * 10)].count(False) == PER_PAIR
    assert not held(gate, "192.0.2.1")


def test_a_whole_ipv6_network_counts_as_one_address(gate: SignInGate) -> None:
    tries = [held(gate, f"2001:db8::{number:x}") for number in range(1, 100)]
    assert tries.count(False) == PER_PAIR


def test_many_addresses_lock_strangers_out_and_never_a_browser_that_signed_in(
    gate: SignInGate, clock: FixedClock
) -> None:
    known = gate.cookie("olga")
    admitted = [held(gate, f"198.51.100.{number}") for number in range(200)].count(False)
    assert admitted == PER_ACCOUNT
    assert held(gate, "192.0.2.1")
    assert not held(gate, "192.0.2.1", cookie=known)
    clock.advance(ACCOUNT_WINDOW_MS)
    assert not held(gate, "192.0.2.1")


def test_names_that_are_nobodys_are_counted_alike(gate: SignInGate) -> None:
    for name in ("nobody", "", "\udcff", "Passw0rd typed in the wrong field"):
        assert [held(gate, "192.0.2.1", name) for _ in range(PER_PAIR + 1)] == [False] * PER_PAIR + [True]


def test_an_attempt_that_was_right_counts_for_nothing(gate: SignInGate) -> None:
    for _ in range(PER_ACCOUNT * 3):
        gate.admit("192.0.2.1", "olga", "").succeeded()
    assert not held(gate, "192.0.2.1")


def test_attempts_at_the_same_time_are_counted_before_any_of_them_ends(gate: SignInGate) -> None:
    admitted = []
    for _ in range(40):
        try:
            admitted.append(gate.admit("192.0.2.1", "olga", ""))
        except TooManyAttempts:
            break
    assert len(admitted) == PER_PAIR


def test_a_known_browser_that_fails_too_often_is_a_strange_one(gate: SignInGate) -> None:
    known = gate.cookie("olga")
    tries = [held(gate, "192.0.2.1", cookie=known) for _ in range(50)]
    assert tries.count(False) == PER_BROWSER + PER_PAIR


@pytest.mark.parametrize("change", ["account", "key", "age", "nonce", "time", "mac", "junk", "empty"])
def test_a_browsers_cookie_is_for_one_account_one_hospital_and_ninety_days(
    gate: SignInGate, clock: FixedClock, change: str
) -> None:
    cookie, account = gate.cookie("olga"), "olga"
    nonce, at_ms, mac = cookie.split(".")
    if change == "account":
        account = "olgb"
    elif change == "key":
        gate = SignInGate(clock, bytes([1]) * 32)
    elif change == "age":
        clock.advance(BROWSER_LIFETIME_MS)
    else:
        cookie = {
            "nonce": f"{nonce}x.{at_ms}.{mac}",
            "time": f"{nonce}.{int(at_ms) + 1}.{mac}",
            "mac": f"{nonce}.{at_ms}.{mac[:-1]}",
            "junk": "\udcff..",
            "empty": "",
        }[change]
    tries = [held(gate, "192.0.2.1", account, cookie) for _ in range(20)]
    assert tries.count(False) == PER_PAIR  # counted as a stranger


def test_the_cookie_names_nobody(gate: SignInGate) -> None:
    assert "olga" not in gate.cookie("olga")


def test_a_known_browser_is_not_held_by_its_address(gate: SignInGate) -> None:
    known = gate.cookie("olga")
    for _ in range(PER_ADDRESS):
        gate.admit_address("192.0.2.1", "nobody", "")
    gate.admit_address("192.0.2.1", "olga", known)
    with pytest.raises(TooManyAttempts, match="too many"):
        gate.admit_address("192.0.2.1", "olga", "")
