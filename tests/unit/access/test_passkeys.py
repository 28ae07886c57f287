"""Passkeys: who has the device is in, and whatever is wrong with an answer it is one refusal."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.authenticator import PRESENT, VERIFIED, Device
from tests.sign_ins import sign_ins_of
from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.accounts import Accounts
from twinward.access.challenges import LIFETIME_MS
from twinward.access.errors import SignInEnded, SignInRefused, WrongRole
from twinward.access.interfaces import Principal
from twinward.access.sign_ins import SignIns
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.vocabulary import Role

OLGA, PETRA = Principal("olga", Role.OFFICER, "Olga"), Principal("petra", Role.OFFICER, "Petra")
PASSWORD = "correct horse battery"
FORM = "the token of a form"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def accounts(tmp_path: Path, clock: FixedClock) -> Accounts:
    made = Accounts(tmp_path / "accounts.db", clock)
    for one in (OLGA, PETRA):
        made.add_person(one, PASSWORD)
    return made


@pytest.fixture
def sign_ins(accounts: Accounts, tmp_path: Path, clock: FixedClock) -> SignIns:
    return sign_ins_of(accounts, tmp_path, clock)


def registered(sign_ins: SignIns, account: str = "olga", name: str = "laptop", **how: Any) -> Device:
    device = Device(**how)
    answer = device.create(sign_ins.passkeys.creation_options(account, FORM))
    sign_ins.passkeys.add(account, name, answer, FORM, AT_THE_MACHINE)
    return device


def answered(sign_ins: SignIns, device: Device, **more: Any) -> str:
    return device.get(sign_ins.passkeys.request_options(FORM), **more)


def refused(sign_ins: SignIns, answer: str, bound: str = FORM) -> None:
    with pytest.raises(SignInRefused) as refusal:
        sign_ins.by_passkey(answer, bound)
    assert str(refusal.value) == "sign-in refused"


def test_who_has_the_device_is_in_without_a_password(sign_ins: SignIns) -> None:
    laptop, phone = registered(sign_ins), registered(sign_ins, name="phone")
    theirs = registered(sign_ins, "petra")
    for device, who in ((laptop, OLGA), (phone, OLGA), (theirs, PETRA), (laptop, OLGA)):
        account, session = sign_ins.by_passkey(answered(sign_ins, device), FORM, origin="here")
        found = sign_ins.session(session)
        assert (account, found.principal, found.by, found.origin) == (who.id, who, "passkey", "here")


def test_options_tell_nobody_apart_and_name_nobody(sign_ins: SignIns) -> None:
    registered(sign_ins)
    asked = json.loads(sign_ins.passkeys.request_options(FORM))
    assert (asked["rpId"], asked["userVerification"], asked["allowCredentials"]) == (
        *("twinward.example", "required"),
        [],
    )
    made = json.loads(sign_ins.passkeys.creation_options("olga", FORM))
    assert len(made["excludeCredentials"]) == 1
    assert "olga" not in made["user"]["id"]
    assert made["authenticatorSelection"]["residentKey"] == "required"


@pytest.mark.parametrize(
    "lie",
    [
        {"origin": "https://twinward.example.evil.example"},
        {"origin": "http://twinward.example"},
        {"rp_id": "evil.example"},
        {"flags": PRESENT},
        {"flags": VERIFIED},
        {"flags": 0},
    ],
    ids=str,
)
def test_an_answer_for_another_place_or_of_nobody_is_refused(sign_ins: SignIns, lie: dict[str, Any]) -> None:
    device = registered(sign_ins)
    for name, value in lie.items():
        setattr(device, name, value)
    refused(sign_ins, answered(sign_ins, device))
    with pytest.raises(BadInput, match="not right"):
        registered(sign_ins, "petra", **lie)


def test_a_challenge_is_good_once_for_its_form_and_five_minutes(
    sign_ins: SignIns, accounts: Accounts, tmp_path: Path, clock: FixedClock
) -> None:
    device = registered(sign_ins, counts=False)
    elsewhere = sign_ins_of(Accounts(tmp_path / "accounts.db", clock), tmp_path, clock)
    answer = answered(sign_ins, device)
    refused(sign_ins, answer, "another form")
    assert elsewhere.by_passkey(answer, FORM)[0] == "olga"
    for one in (sign_ins, elsewhere):
        refused(one, answer)
    late = answered(sign_ins, device)
    clock.advance(LIFETIME_MS)
    refused(sign_ins, late)
    early = answered(sign_ins, device)
    clock.advance(-2 * LIFETIME_MS)
    refused(sign_ins, early)  # a clock that was set back makes no challenge last longer
    made_up = json.dumps({"rpId": "twinward.example", "challenge": "AA" * 40})
    refused(sign_ins, device.get(made_up))


def test_a_passkey_that_was_copied_shows_by_its_counter(sign_ins: SignIns) -> None:
    device = registered(sign_ins)
    copied = copy.copy(device)
    sign_ins.by_passkey(answered(sign_ins, device), FORM)
    sign_ins.by_passkey(answered(sign_ins, device), FORM)
    refused(sign_ins, answered(sign_ins, copied))
    assert sign_ins.by_passkey(answered(sign_ins, device), FORM)


def test_another_key_or_account_is_refused(sign_ins: SignIns) -> None:
    device, theirs = registered(sign_ins), registered(sign_ins, "petra")
    stranger = Device(user=device.user, id=device.id)
    refused(sign_ins, answered(sign_ins, stranger))
    refused(sign_ins, answered(sign_ins, Device()))
    device.user = theirs.user
    refused(sign_ins, answered(sign_ins, device))


def test_disabled_removed_and_other_roles(sign_ins: SignIns, accounts: Accounts) -> None:
    device, phone = registered(sign_ins), registered(sign_ins, name="phone")
    with pytest.raises(WrongRole):
        sign_ins.by_passkey(answered(sign_ins, device), FORM, roles={Role.OPERATOR})
    _, session = sign_ins.by_passkey(answered(sign_ins, device), FORM)
    lost = accounts.record("olga").passkeys[0].id
    sign_ins.passkeys.remove("olga", lost, AT_THE_MACHINE)
    with pytest.raises(SignInEnded):
        sign_ins.session(session)
    refused(sign_ins, answered(sign_ins, device))
    with pytest.raises(NotFound):
        sign_ins.passkeys.remove("olga", lost, AT_THE_MACHINE)
    assert sign_ins.by_passkey(answered(sign_ins, phone), FORM)
    accounts.change("olga", lambda one: one.ended(disabled=True), "disabled", AT_THE_MACHINE)
    refused(sign_ins, answered(sign_ins, phone))


def test_a_device_is_registered_once_by_the_form_it_was_asked_in(sign_ins: SignIns) -> None:
    device = Device()
    answer = device.create(sign_ins.passkeys.creation_options("olga", FORM))
    with pytest.raises(BadInput, match="not yours"):
        sign_ins.passkeys.add("olga", "x", answer, "another form", AT_THE_MACHINE)
    sign_ins.passkeys.add("olga", "  \u202elaptop ", answer, FORM, AT_THE_MACHINE)
    assert sign_ins.accounts.record("olga").passkeys[0].name == "\\u202elaptop"
    with pytest.raises(BadInput, match="already"):
        sign_ins.passkeys.add("olga", "x", answer, FORM, AT_THE_MACHINE)
    again = device.create(sign_ins.passkeys.creation_options("olga", FORM))
    with pytest.raises(Conflict):
        sign_ins.passkeys.add("olga", "x", again, FORM, AT_THE_MACHINE)


def test_who_confirms_does_so_with_a_passkey_of_their_own(sign_ins: SignIns, clock: FixedClock) -> None:
    device, theirs = registered(sign_ins), registered(sign_ins, "petra")
    _, before = sign_ins.by_passkey(answered(sign_ins, device), FORM)
    clock.advance(15 * 60_000)
    csrf = sign_ins.session(before).csrf
    with pytest.raises(SignInRefused):
        sign_ins.confirm_by_passkey(before, theirs.get(sign_ins.passkeys.request_options(csrf)))
    with pytest.raises(SignInRefused):
        sign_ins.confirm_by_passkey(before, answered(sign_ins, device))  # bound to another form
    asked = sign_ins.passkeys.request_options(csrf, "olga")
    assert len(json.loads(asked)["allowCredentials"]) == 1
    after = sign_ins.confirm_by_passkey(before, device.get(asked))
    assert sign_ins.session(after).fresh
    with pytest.raises(SignInRefused):
        sign_ins.session(before)


def test_a_role_that_needs_a_second_factor_has_it_in_a_passkey(
    accounts: Accounts, tmp_path: Path, clock: FixedClock
) -> None:
    sign_ins = sign_ins_of(accounts, tmp_path, clock, needed_by=[Role.OFFICER])
    device = registered(sign_ins)
    assert not sign_ins.session(sign_ins.by_passkey(answered(sign_ins, device), FORM)[1]).must_enrol
    by_password = sign_ins.by_password("olga", PASSWORD)
    session = sign_ins.session(by_password)
    assert (session.must_enrol, session.fresh) == (True, False)  # who learned the password adds no factor of theirs
    with pytest.raises(SignInRefused):
        sign_ins.confirm(by_password, PASSWORD, "")
    session = sign_ins.session(by_password)
    answer = device.get(sign_ins.passkeys.request_options(session.csrf, "olga"))
    session = sign_ins.session(sign_ins.confirm_by_passkey(by_password, answer))
    assert (session.must_enrol, session.fresh) == (False, True)


@pytest.mark.parametrize("key", [[1], 5, {}, {1: 9}, {1: 2, 3: -7, -1: 99, -2: b"x", -3: b"y"}])
def test_no_public_key_is_more_than_a_refusal(sign_ins: SignIns, key: Any) -> None:
    device = Device()
    said = json.loads(device.create(sign_ins.passkeys.creation_options("olga", FORM)))
    raw = base64.urlsafe_b64decode(said["response"]["attestationObject"] + "===")
    attested = cbor2.loads(raw)
    size = int.from_bytes(attested["authData"][53:55], "big")
    attested["authData"] = attested["authData"][: 55 + size] + cbor2.dumps(key)
    said["response"]["attestationObject"] = base64.urlsafe_b64encode(cbor2.dumps(attested)).decode().rstrip("=")
    try:
        sign_ins.passkeys.add("olga", "odd", json.dumps(said), FORM, AT_THE_MACHINE)
    except BadInput:
        return
    refused(sign_ins, answered(sign_ins, device))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from(["", "clientDataJSON", "authenticatorData", "signature", "userHandle", "id", "rawId", "type"]),
    value=JSON,
)
def test_no_junk_is_more_than_a_refusal(sign_ins: SignIns, name: str, value: Any) -> None:
    device = Device(user=b"x" * 16)
    sent = json.loads(answered(sign_ins, device))
    if not name:
        sent = value
    elif name in sent:
        sent[name] = value
    else:
        sent["response"][name] = value
    for answer in (json.dumps(sent), str(value)):
        refused(sign_ins, answer)
        with pytest.raises(BadInput):
            sign_ins.passkeys.add("olga", "x", answer, FORM, AT_THE_MACHINE)


def test_beside_a_passkey_a_password_signs_in_and_confirms_nothing(sign_ins: SignIns, clock: FixedClock) -> None:
    before = sign_ins.by_password("olga", PASSWORD)
    assert sign_ins.session(before).fresh
    device = registered(sign_ins)
    session = sign_ins.by_password("olga", PASSWORD)
    assert not sign_ins.session(session).fresh
    assert not sign_ins.session(before).fresh
    with pytest.raises(SignInRefused):
        sign_ins.confirm(session, PASSWORD, "")
    csrf = sign_ins.session(session).csrf
    answer = device.get(sign_ins.passkeys.request_options(csrf, "olga"))
    assert sign_ins.session(sign_ins.confirm_by_passkey(session, answer)).fresh
