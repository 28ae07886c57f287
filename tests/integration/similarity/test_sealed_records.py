"""After a match: records leave a real node sealed to the vendor, patient by patient, by consent, each in the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from tests.kept_homes import founded
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.audit.models import AccessEvent
from twinward.cli.main import app
from twinward.client import (
    AnswerForged,
    AnswerMalformed,
    HospitalRefused,
    Matches,
    RecordsExpired,
    Release,
    VendorClient,
    VendorKeys,
    protocol_steps,
)
from twinward.client.keys import Stretching
from twinward.core.config import Settings
from twinward.core.errors import BadInput, NotFound, StoreAltered, Unavailable
from twinward.core.private_files import write_private
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.demo.serving import served
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, Node, create_node, open_node
from twinward.protocol.messages import RecordsReply
from twinward.protocol.proofs import Kind
from twinward.twins.models import DIRECTORY

OFFICER = Principal("olga", Role.OFFICER)
CLINICIAN = Principal("dr-lee", Role.CLINICIAN)
VENDOR = Principal("acme", Role.VENDOR)
EVERYBODY = 1.0


def provision(*categories: Category) -> Provision:
    return Provision(
        effect="permit", roles=(Role.SYSTEM, Role.VENDOR), purposes=(Purpose.SIMILARITY,), categories=categories
    )


@dataclass
class Walk:
    """A node, who consented to what, and a vendor that has asked."""

    node: Node
    url: str
    token: str
    generous: list[TwinId]
    handles_only: list[TwinId]
    matches: Matches

    def vendor(self) -> VendorClient:
        return VendorClient(self.url, self.token)

    def handles(self, twins: list[TwinId]) -> list[str]:
        return [self.node.similarity().secrets.handle(VENDOR.id, twin) for twin in twins]

    def events(self, count: int) -> list[AccessEvent]:
        """The latest events of the log, oldest first."""
        permit = self.node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
        rows = self.node.audit_reader.events(permit, limit=count + 1).rows
        return [row.event for row in rows[1:]][::-1]  # the newest is this look itself


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    node = founded(tmp_path_factory.mktemp("records") / "node")
    try:
        twins = [
            node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one).twin
            for one in generate_cohort(6, 3)
            if one.reference != DIRECTORY
        ]
        generous, handles_only = twins[:3], twins[3:]
        node.access.set_consents(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
            [(twin, (provision(Category.FEATURES, Category.LABS, Category.VITALS),)) for twin in generous]
            + [(twin, (provision(Category.FEATURES),)) for twin in handles_only],
        )
        token = node.accounts.add_system(VENDOR)
        node.consortium.grant_queries(VENDOR.id, 50)
        with served(node) as url:
            with VendorClient(url, token) as vendor:
                matches = vendor.query_gated({"age": ("50", "a")}, threshold=EVERYBODY)
            yield Walk(node, url, token, generous, handles_only, matches)
    finally:
        node.close()


@pytest.fixture(scope="module")
def keys() -> VendorKeys:
    return VendorKeys.generate()


def test_records_come_out_as_they_are_kept_for_whom_consent_allows(walk: Walk, keys: VendorKeys) -> None:
    assert len(walk.matches.handles) == 6
    with walk.vendor() as vendor:
        opened = vendor.records(walk.matches, keys, categories=["labs", "vitals"])
    assert {record.handle for record in opened.records} == set(walk.handles(walk.generous))
    assert "consent" in opened.withheld
    for twin, handle in zip(walk.generous, walk.handles(walk.generous), strict=True):
        kept = walk.node.twins.read(AccessContext(CLINICIAN, Purpose.TREATMENT), twin, (Category.LABS, Category.VITALS))
        told = [record for record in opened.records if record.handle == handle]
        assert sorted(record.content for record in told) == sorted(record.content for record in kept)
        assert {(r.record_type, r.category) for r in told} == {(r.record_type, r.category.value) for r in kept}
        assert kept


def test_only_what_consent_covers_of_what_was_asked(walk: Walk, keys: VendorKeys) -> None:
    with walk.vendor() as vendor:
        opened = vendor.records(walk.matches, keys, categories=["labs", "medications", "demographics"])
    assert {record.category for record in opened.records} == {"labs"}


def test_each_release_is_an_export_in_the_log_and_names_the_key(walk: Walk, keys: VendorKeys) -> None:
    with walk.vendor() as vendor:
        vendor.records(walk.matches.handles, keys, categories=["vitals"])
    *rest, last = walk.events(7)
    asked, exports = rest[0], [*rest[1:], last]
    assert asked.action is Action.QUERY
    assert {event.action for event in exports} == {Action.EXPORT}
    decided = {event.twin: event.decision for event in exports}
    assert decided == dict.fromkeys(walk.generous, "permit") | dict.fromkeys(walk.handles_only, "deny")
    assert {dict(event.detail)["sealed to"] for event in exports} == {keys.fingerprint}
    assert {event.categories for event in exports} == {(Category.VITALS,)}


def test_a_withdrawn_consent_bites_at_once(walk: Walk, keys: VendorKeys) -> None:
    gone = walk.generous[-1]
    before = walk.node.access.consent_of(gone).provisions
    walk.node.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), gone, (provision(Category.FEATURES),)
    )
    try:
        with walk.vendor() as vendor:
            opened = vendor.records(walk.matches, keys, categories=["labs"])
        assert {record.handle for record in opened.records} == set(walk.handles(walk.generous[:-1]))
    finally:
        walk.node.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), gone, before)


def test_nothing_readable_travels_and_other_keys_open_nothing(
    walk: Walk, keys: VendorKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    http = httpx.Client(timeout=60, event_hooks={"response": [lambda answer: seen.append(answer.read())]})
    with http, VendorClient(walk.url, walk.token, http=http) as vendor:
        opened = vendor.records(walk.matches, keys, categories=["labs"])
        answer = b"".join(seen[1:])  # after the public schema, which speaks of LOINC
        assert answer
        for word in (b"Observation", b"loinc", b"Patient/", opened.records[0].content[:40]):
            assert word not in answer
        stranger = VendorKeys.generate()
        real = protocol_steps.RecordsRequest

        def to_the_first(**given: object) -> object:  # asks with one key, opens with another
            return real(**(given | {"recipient": keys.public}))  # type: ignore[arg-type]

        monkeypatch.setattr(protocol_steps, "RecordsRequest", to_the_first)
        with pytest.raises(AnswerMalformed, match="do not open"):
            vendor.records(walk.matches, stranger, categories=["labs"])


@pytest.mark.parametrize(
    ("handles", "categories", "status"),
    [
        (["0" * 32], ["labs"], 404),
        (None, ["horoscope"], 400),
        (None, ["features"], 403),
        (None, ["features", "labs"], 403),
    ],
    ids=["a handle nobody was given", "an unknown category", "the exact vector", "the exact vector among others"],
)
def test_what_was_not_released_is_not_opened(
    walk: Walk, keys: VendorKeys, handles: list[str] | None, categories: list[str], status: int
) -> None:
    with walk.vendor() as vendor, pytest.raises(HospitalRefused) as refusal:
        vendor.records(handles or walk.matches.handles, keys, categories=categories)
    assert refusal.value.status == status


def test_only_handles_that_were_told_open_records_and_each_request_is_paid(walk: Walk, keys: VendorKeys) -> None:
    """A vendor who was told nothing yet has the right handles by chance, and a dishonest one by another's help."""
    prober = Principal("prober", Role.VENDOR)
    token = walk.node.accounts.add_system(prober)
    walk.node.consortium.grant_queries(prober.id, 3)
    handles = [walk.node.similarity().secrets.handle(prober.id, twin) for twin in walk.generous]
    with VendorClient(walk.url, token) as vendor:
        refusals = set()
        for guess in ([handles[0]], ["0" * 32], walk.matches.handles[:1], [*handles, "0" * 32]):
            with pytest.raises(HospitalRefused) as refusal:
                vendor.records(guess, keys, categories=["labs"])
            refusals.add((refusal.value.status, str(refusal.value), refusal.value.hint))
        assert len(refusals) == 1
        for wrong in (["features"], ["horoscope"]):
            with pytest.raises(HospitalRefused):
                vendor.records(handles, keys, categories=wrong)
        assert vendor.budget().remaining == 3, "what is refused costs nothing"
        told = vendor.query_gated({"age": ("50", "a")}, threshold=EVERYBODY)
        assert set(handles) <= set(told.handles)
        assert vendor.records(handles, keys, categories=["labs"]).budget_left == 1
        assert vendor.records(handles[:1], keys, categories=["labs"]).budget_left == 0
        with pytest.raises(HospitalRefused, match="0 queries left"):
            vendor.records(handles, keys, categories=["labs"])
        many = [f"{number:032x}" for number in range(9)]
        with pytest.raises(BadInput, match="cost 2 queries and 0 are left"):
            vendor.records(many, keys, categories=["labs"])


def test_another_vendors_handle_is_nobodys(walk: Walk, keys: VendorKeys) -> None:
    token = walk.node.accounts.add_system(Principal("globex", Role.VENDOR))
    with VendorClient(walk.url, token) as other, pytest.raises(HospitalRefused) as refusal:
        other.records(walk.matches.handles, keys, categories=["labs"])
    assert refusal.value.status == 404


def test_only_vendors_are_given_records(walk: Walk, keys: VendorKeys) -> None:
    token = walk.node.accounts.add_system(Principal("ward-9", Role.CLINICIAN))
    with VendorClient(walk.url, token) as ward, pytest.raises(HospitalRefused) as refusal:
        ward.records(walk.matches.handles, keys, categories=["labs"])
    assert refusal.value.status == 403


@pytest.mark.slow
def test_what_was_told_outlives_the_process_sealed(tmp_path: Path) -> None:
    home = tmp_path / "node"
    choices = {
        "modes": ("gated", "vendor-key"),
        "vendor_key_noise": 9_000,
        "vendor_key_weighted": True,
        "max_weight": 3,
    }
    node = create_node(Settings.load(home, **choices))
    try:
        twins = [
            node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one).twin
            for one in generate_cohort(3, 9)
            if one.reference != DIRECTORY
        ]
        node.access.set_consents(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
            [(twin, (provision(Category.FEATURES),)) for twin in twins],
        )
        node.similarity()
        untold = node.twins.ingest(
            AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), next(iter(generate_cohort(1, 10)))
        ).twin
        node.access.set_consents(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(untold, (provision(Category.FEATURES),))]
        )
        node.consortium.grant_queries(VENDOR.id, 5)
        token = node.accounts.add_system(VENDOR)
        with served(node) as url, VendorClient(url, token) as vendor:
            told = vendor.query_gated({"age": 50}, threshold=EVERYBODY)
    finally:
        node.close()
    kept = (home / "releases.sealed").read_bytes()
    assert not any(twin.encode() in kept for twin in twins)
    with open_node(home) as again:
        groups = again.similarity()._release._history.told(VENDOR.id)
        assert groups == frozenset({frozenset(twins)})
        offered = {
            mode.mode.value: (mode.noise_width, mode.weighted, mode.max_weight) for mode in again.cohort.terms().modes
        }
        assert offered == {"gated": (1, True, 3), "vendor-key": (9_000, True, 3)}  # what the hospital set
        assert again.similarity().resolve(VENDOR, told.handles[0]) in twins
        with pytest.raises(NotFound):
            again.similarity().resolve(VENDOR, again.similarity().secrets.handle(VENDOR.id, untold))
    with open_node(home) as again, served(again) as url, VendorClient(url, token) as vendor:
        own = vendor.query_vendor_key({"age": 52}, threshold=EVERYBODY)  # tells another handle, and so writes
        assert again.similarity().secrets.handle(VENDOR.id, untold) in own.handles
    newer = (home / "releases.sealed").read_bytes()
    for turned_back in (kept, None):
        if turned_back is None:
            (home / "releases.sealed").unlink()
        else:
            (home / "releases.sealed").write_bytes(turned_back)
        with open_node(home) as older, pytest.raises(StoreAltered, match="turned back"):
            older.similarity()
    (home / "releases.sealed").write_bytes(newer)
    with open_node(home) as right:
        assert right.similarity().resolve(VENDOR, own.handles[0])
    (home / "releases.sealed").write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with open_node(home) as altered, pytest.raises(Unavailable, match="was altered"):
        altered.similarity()


def test_released_records_have_an_end_that_is_signed_and_kept(walk: Walk, keys: VendorKeys) -> None:
    with walk.vendor() as vendor:
        fetched = vendor.records(walk.handles(walk.generous[:1]), keys, categories=["labs"])
        key = vendor.hospital_key
    assert fetched.until_s is not None
    assert abs(fetched.until_s - time.time() - 30 * 86_400) < 600
    assert fetched.release is not None
    release = Release.decode(fetched.release.encode())
    assert release.open(keys, key=key, now_s=fetched.until_s - 1) == fetched.records
    with pytest.raises(RecordsExpired, match="were released until"):
        release.open(keys, key=key, now_s=fetched.until_s)
    with pytest.raises(AnswerMalformed, match="do not open"):
        release.open(VendorKeys.generate(), key=key)
    later = (release.answers[0] | {"until_s": fetched.until_s + 1},)
    with pytest.raises(AnswerForged):
        replace(release, answers=later).open(keys)
    assert [event for event in walk.events(12) if ("until", str(fetched.until_s)) in event.detail]


def test_an_end_that_is_not_what_was_sealed_opens_nothing(walk: Walk, keys: VendorKeys) -> None:
    """A hospital that signs another end than it sealed: neither is believed."""
    with walk.vendor() as vendor:
        release = vendor.records(walk.handles(walk.generous[:1]), keys, categories=["labs"]).release
    assert release is not None
    reply = RecordsReply.model_validate(release.answers[0], extra="ignore")
    longer = reply.model_copy(update={"until_s": (reply.until_s or 0) + 60})
    assert reply.proof is not None
    about = {"query_id": reply.proof.query_id, "query": reply.proof.query, "vendor": reply.proof.vendor}
    proof = walk.node.cohort.signer.prove(Kind.RECORDS, longer, binding=bytes.fromhex(reply.proof.binding), **about)
    signed = longer.model_copy(update={"proof": proof}).model_dump(mode="json")
    with pytest.raises(AnswerMalformed, match="another end"):
        replace(release, answers=(signed,)).open(keys)


def test_an_expired_release_is_refused_on_the_command_line(walk: Walk, keys: VendorKeys, tmp_path: Path) -> None:
    with walk.vendor() as vendor:
        release = vendor.records(walk.handles(walk.generous[:1]), keys, categories=["labs"]).release
    assert release is not None
    (tmp_path / "release.json").write_bytes(release.encode())
    write_private(tmp_path / "pass", b"a long enough passphrase")
    keys.save(tmp_path / "acme.keys", "a long enough passphrase", stretching=Stretching(1024, 1, 1))
    arguments = ["vendor", "open", str(tmp_path / "release.json"), "--keys", str(tmp_path / "acme.keys")]
    arguments += ["--passphrase-file", str(tmp_path / "pass"), "--out"]
    done = CliRunner().invoke(app, [*arguments, str(tmp_path / "again")])
    assert done.exit_code == 0, done.output
    assert list((tmp_path / "again").glob("*/*.json"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("twinward.client.releases.time.time", lambda: time.monotonic() + 1e11)
        done = CliRunner().invoke(app, [*arguments, str(tmp_path / "late")])
    assert (done.exit_code, (tmp_path / "late").exists()) == (6, False)
