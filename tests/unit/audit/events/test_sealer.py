"""Events as entries: each opens as its own leaf's alone, under its own patient's key, and is filed where it says."""

from __future__ import annotations

import hmac
import os
from dataclasses import replace
from functools import partial

import pytest

from tests.access_events import read_by_a_clinician
from twinward.audit.errors import EventNotLoggable, LogTampered
from twinward.audit.events import codec, sealer
from twinward.audit.events.sealer import EventSealer, open_event, open_routing, seal_event
from twinward.core.errors import NotFound
from twinward.core.vocabulary import TwinId
from twinward_crypto.envelope import seal_many
from twinward_crypto.errors import OpenError
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.store import Entry

ORIGIN = "log.example"
ANNA, BERT, NOBODY = (TwinId(f"01941f29-7c00-7000-8000-00000000000{n}") for n in range(1, 4))
EVENT = read_by_a_clinician(ANNA)


class Keys:
    """A key for the hospital and for each of its patients."""

    def __init__(self, *twins: TwinId) -> None:
        self.twins = {*twins}

    def audit_key(self, twin: TwinId | None) -> bytes:
        if twin is not None and twin not in self.twins:
            raise NotFound("no such twin")
        return hmac.digest(b"keys", repr(twin).encode(), "sha256")

    def tag(self, label: str, value: str) -> bytes:
        return hmac.digest(b"tags", f"{label}|{value}".encode(), "sha256")[:16]


@pytest.fixture
def keys() -> Keys:
    return Keys(ANNA, BERT)


@pytest.fixture
def of_hospital(keys: Keys) -> EventSealer:
    return EventSealer(keys, ORIGIN)


def test_what_is_sealed_opens(of_hospital: EventSealer) -> None:
    for event in (EVENT, replace(EVENT, twin=None)):
        (entry,) = of_hospital.seal([event])
        twin, opening = of_hospital.open(0, entry)
        assert opening is not None
        assert twin == event.twin == of_hospital.subject(entry)
        assert codec.decode(opening.event, ORIGIN) == event
        kind = LeafKind.NODE if event.twin is None else LeafKind.ACCESS
        assert Leaf.decode(entry.leaf).kind is kind
        of_hospital.require_filed(0, entry, twin, opening)


def test_many_are_sealed_in_one_pass_as_one_by_one(
    of_hospital: EventSealer, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same randomness, byte for byte what the plain function makes: its reads are salt, routing, event."""
    said = [replace(EVENT, at_ms=n, twin=twin) for n, twin in enumerate((ANNA, BERT, None, NOBODY, ANNA))]
    salts, nonces = os.urandom(32 * len(said)), os.urandom(48 * len(said))
    reads = iter([salts, nonces])
    monkeypatch.setattr(os, "urandom", lambda size: next(reads))
    monkeypatch.setattr(sealer, "seal_many", partial(seal_many, random=os.urandom))
    made = of_hospital.seal(said)
    assert next(reads, None) is None
    for n, (event, entry) in enumerate(zip(said, made, strict=True)):
        wanted = iter([salts[32 * n :][:32], nonces[48 * n :][:24], nonces[48 * n + 24 :][:24]])
        monkeypatch.setattr(os, "urandom", lambda size, wanted=wanted: next(wanted))
        monkeypatch.setattr(sealer.commitment, "new_salt", lambda wanted=wanted: next(wanted))
        twin = event.twin if event.twin in (ANNA, BERT) else None
        alone = seal_event(
            codec.encode(event, ORIGIN), event.at_ms, twin,
            key=keys.audit_key(twin), tenant_key=keys.audit_key(None), origin=ORIGIN,
        )  # fmt: skip
        assert (entry.leaf, entry.body) == (alone.leaf, alone.body)


def test_a_body_opens_at_its_own_leaf_in_its_own_log(of_hospital: EventSealer, keys: Keys) -> None:
    one, other = of_hospital.seal([EVENT, EVENT])
    with pytest.raises(LogTampered):
        of_hospital.open(0, Entry(one.leaf, other.body, one.tags))
    with pytest.raises(LogTampered):
        EventSealer(keys, "log.another").open(0, one)


@pytest.mark.parametrize("place", [0, 1, sealer.ROUTING_BYTES, sealer.ROUTING_BYTES + 1, -1])
def test_no_byte_of_a_body_is_another(of_hospital: EventSealer, place: int) -> None:
    (entry,) = of_hospital.seal([EVENT])
    body = bytearray(entry.body)
    body[place] ^= 1
    with pytest.raises(LogTampered):
        of_hospital.open(7, Entry(entry.leaf, bytes(body), entry.tags))


def test_a_cut_body_is_no_body(of_hospital: EventSealer) -> None:
    (entry,) = of_hospital.seal([EVENT])
    for end in (1, sealer.ROUTING_BYTES, len(entry.body) - 1):
        with pytest.raises(LogTampered):
            of_hospital.open(7, Entry(entry.leaf, entry.body[:end], entry.tags))


def test_shredding_leaves_whom_it_was_about_and_nothing_else(of_hospital: EventSealer, keys: Keys) -> None:
    (entry,) = of_hospital.seal([EVENT])
    keys.twins.remove(ANNA)
    assert of_hospital.open(0, entry) == (ANNA, None)
    assert not of_hospital.has_key(ANNA)


def test_an_event_of_another_patients_key_does_not_open(keys: Keys) -> None:
    tenant, anna = keys.audit_key(None), keys.audit_key(ANNA)
    sealed = seal_event(b"{}", EVENT.at_ms, ANNA, key=anna, tenant_key=tenant, origin=ORIGIN)
    assert open_routing(sealed.body, sealed.leaf, tenant_key=tenant, origin=ORIGIN) == ANNA
    assert open_event(sealed.body, sealed.leaf, key=anna, origin=ORIGIN).event == b"{}"
    for wrong in (tenant, keys.audit_key(BERT)):
        with pytest.raises(OpenError):
            open_event(sealed.body, sealed.leaf, key=wrong, origin=ORIGIN)


def test_an_attempt_on_nobody_is_the_hospitals_own(of_hospital: EventSealer) -> None:
    (entry,) = of_hospital.seal([replace(EVENT, twin=NOBODY)])
    twin, opening = of_hospital.open(0, entry)
    assert twin is None
    of_hospital.require_filed(0, entry, twin, opening)


def test_once_that_patient_has_a_key_it_is_hidden(of_hospital: EventSealer, keys: Keys) -> None:
    (entry,) = of_hospital.seal([replace(EVENT, twin=NOBODY)])
    keys.twins.add(NOBODY)
    with pytest.raises(LogTampered, match="names a patient it is not filed under"):
        of_hospital.require_filed(0, entry, *of_hospital.open(0, entry))


def test_a_name_beyond_the_routing_is_refused(keys: Keys) -> None:
    key = keys.audit_key(None)
    with pytest.raises(EventNotLoggable):
        seal_event(b"{}", 0, TwinId("x" * 65), key=key, tenant_key=key, origin=ORIGIN)


def test_it_remembers_whom_its_entries_are_about_until_it_may_forget(
    of_hospital: EventSealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_hospital.remember(range(3, 6), [EVENT, replace(EVENT, twin=None), replace(EVENT, twin=BERT)])
    assert [of_hospital.remembered(index) for index in range(3, 7)] == [ANNA, None, BERT, None]
    of_hospital.forget(5)
    assert [of_hospital.remembered(index) for index in (3, 5)] == [None, BERT]
    monkeypatch.setattr(sealer, "MAX_REMEMBERED", 1)
    of_hospital.remember([9], [EVENT])
    assert of_hospital.remembered(9) is None
