"""Accounts, sign-ins, consents, anchors, witnesses' memories and states, what studies keep: on both backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sqlalchemy import text

from tests.postgres import Postgres
from tests.unit.access.test_vouched_store import Keys, Log
from tests.unit.ledger.stores.test_witness_memory import FakeLog
from twinward.access.account_store import AccountRecord, AccountStore
from twinward.access.accounts import NobodysKeys
from twinward.access.consent import NO_CONSENT, ConsentStore, Provision
from twinward.access.errors import SignInRefused
from twinward.access.policy import Policy
from twinward.access.policy_store import PolicyStore
from twinward.access.sign_in_store import MOST_OF_KIND, Kind, SignInStore
from twinward.access.tables import ACCOUNTS, CONSENTS, POLICIES, SIGN_INS
from twinward.core.clock import FixedClock
from twinward.core.errors import Conflict, StoreAltered, Unavailable
from twinward.core.vocabulary import Role, TwinId
from twinward.federation.aggregation.answered_rounds import (
    ANSWERS,
    AnsweredRound,
    AnsweredRounds,
    NextKey,
    Sealed,
)
from twinward.federation.errors import RoundRefused
from twinward.federation.study_journal import JOURNAL, Begun, Question, Review, StudyJournal
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage import Database, Schema, open_database
from twinward_ledger.stores.anchor_journal import AnchorJournal, Trouble
from twinward_ledger.stores.tables import ANCHORS, WITNESS_MEMORY, WITNESS_STATE
from twinward_ledger.stores.witness_memory import Standing, WitnessMemory
from twinward_ledger.stores.witness_state import WitnessState

ANN = TwinId("ann")
Open = Callable[[Schema], Database]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a store's database as often as it is asked; on PostgreSQL all stores are in one."""
    databases: list[Database] = []
    shared = "" if request.param == "sqlite" else request.getfixturevalue("postgres").database()

    def open_it(schema: Schema) -> Database:
        databases.append(open_database(shared or f"sqlite:{tmp_path / schema.name}.db", schema))
        return databases[-1]

    yield open_it
    for one in databases:
        one.close()


def run(opened: Open, schema: Schema, in_file: str, on_server: str = "") -> None:
    """What an intruder does to a database."""
    database = opened(schema)
    with database.writing() as connection:
        connection.execute(text(in_file if database.is_own else on_server or in_file))


def lee() -> AccountRecord:
    return AccountRecord(id="lee", role=Role.CLINICIAN, name="Dr. Lee")


def test_accounts_are_one_truth_in_every_process(opened: Open) -> None:
    log = Log()
    one, other = (AccountStore(opened(ACCOUNTS), Keys(), log) for _ in range(2))
    one.add(lee(), lambda: None)
    assert other.find("lee") == lee()
    with pytest.raises(Conflict):
        other.add(lee(), lambda: None)
    other.change("lee", lambda found: found.model_copy(update={"disabled": True}), lambda _: None)
    found = one.find("lee")
    assert found is not None
    assert found.disabled
    assert [account.id for account in one.all()] == ["lee"]
    assert (one.visit("lee", 7, 11), other.visit("lee", 8, 12)) == ((0, 0), (7, 11))
    assert one.note_use("lee", 0, 20_000)
    assert other.used() == {("lee", 0): 20_000}
    assert (one.verify(), log.heads[-1].changes) == (2, 2)


@pytest.mark.parametrize(
    ("in_file", "on_server"),
    [
        ("UPDATE account_record SET record = replace(record, 'clinician', 'officer')", ""),
        ("DELETE FROM account_record", ""),
        ("DELETE FROM change WHERE seq = 2", "DELETE FROM account_change WHERE seq = 2"),
        ("UPDATE change SET mac = x'00'", "UPDATE account_change SET mac = '\\x00'"),
    ],
    ids=["a row altered", "a row taken away", "turned back", "a change forged"],
)
def test_accounts_that_this_node_did_not_write_are_refused(opened: Open, in_file: str, on_server: str) -> None:
    log = Log()
    store = AccountStore(opened(ACCOUNTS), Keys(), log)
    store.add(lee(), lambda: None)
    store.change("lee", lambda found: found.model_copy(update={"unit": "icu"}), lambda _: None)
    run(opened, ACCOUNTS, in_file, on_server)
    for one in (store, AccountStore(opened(ACCOUNTS), Keys(), log)):
        with pytest.raises(StoreAltered):
            one.verify()


def test_a_note_of_use_waits_for_nobody(opened: Open) -> None:
    store, busy = AccountStore(opened(ACCOUNTS), Keys(), None), opened(ACCOUNTS)
    with busy.writing():
        assert not store.note_use("lee", 1, 20_000)
    assert store.note_use("lee", 1, 20_001)


def test_consents_are_in_force_at_once_and_vouched_for(opened: Open) -> None:
    log, clock = Log(), FixedClock()
    one, other = (ConsentStore(opened(CONSENTS), Keys(), clock, log) for _ in range(2))
    assert other.current(ANN) == NO_CONSENT
    moment = other.moment()
    assert other.moment()[0] == moment[0]
    one.put(ANN, (Provision(effect="permit"),))
    assert other.current(ANN).version == 1
    assert other.moment() != moment
    other.put_many([(ANN, (Provision(effect="deny"),)), (TwinId("bob"), ())])
    assert one.current(ANN).provisions == (Provision(effect="deny"),)
    one.forget(ANN)
    assert other.current(ANN) == NO_CONSENT
    assert other.verify() == len(log.heads[-1:]) * log.heads[-1].changes == 4
    run(opened, CONSENTS, "UPDATE consent SET sealed = x'00'", "UPDATE consent SET sealed = '\\x00'")
    with pytest.raises(StoreAltered):
        one.verify()


def test_a_planted_consent_is_refused_by_a_store_that_is_open(opened: Open) -> None:
    store = ConsentStore(opened(CONSENTS), Keys(), FixedClock(), Log())
    store.put(TwinId("bob"), ())
    assert store.current(ANN) == NO_CONSENT
    run(
        opened,
        CONSENTS,
        "INSERT INTO consent VALUES ('ann', 1, 0, x'00')",
        "INSERT INTO consent VALUES ('ann', 1, 0, '\\x00')",
    )
    with pytest.raises(StoreAltered):
        store.current(ANN)


def test_what_is_known_of_witnesses_is_kept_and_vouched_for(opened: Open) -> None:
    log = FakeLog()
    one, other = (WitnessMemory(opened(WITNESS_MEMORY)) for _ in range(2))
    for memory in (one, other):
        memory.vouched_by(log)
    one.note("north", Standing.GOOD, at_ms=1000, size=7)
    other.note("north", Standing.LYING, at_ms=2000, reason="a wrong signature")
    found = one.of("north")
    assert (found.size, found.standing, found.since_ms, len(log.heads)) == (7, Standing.LYING, 2000, 1)
    run(opened, WITNESS_MEMORY, "UPDATE witnesses SET size = 1")
    assert other.all() == {}
    assert "altered" in log.said[-1]


def test_a_witness_keeps_what_it_cosigned_and_checks_one_at_a_time(opened: Open) -> None:
    states = [WitnessState(opened(WITNESS_STATE)) for _ in range(3)]

    def advance(number: int) -> bool:
        state = states[number % 3]

        def check() -> None:
            newest = state.newest("log.example")
            if newest is not None and newest[0] >= number:
                raise ValueError("smaller")

        try:
            state.advance("log.example", number, b"note %d" % number, check)
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(advance, range(1, 31)))
    assert done[-1]
    assert states[0].newest("log.example") == (30, b"note 30")
    kept = [number for number, was in enumerate(done, start=1) if was]
    assert [states[1].at("log.example", number) for number in kept] == [(n, b"note %d" % n) for n in kept]
    states[0].accept_time(7, b"contract", 99, 1)
    assert (states[2].accepted_time(7, b"contract"), states[2].accepted_time(8, b"contract")) == (99, 0)


def test_the_anchor_journal_keeps_its_notes(opened: Open) -> None:
    one, other = AnchorJournal(opened(ANCHORS)), AnchorJournal(opened(ANCHORS))
    assert (one.newest(), one.largest(), one.unconfirmed(), one.notes()) == (None, None, [], [])
    one.note_problem("no gas", 5)
    other.note_problem("still no gas", 9)
    assert one.problem() == Trouble(5, "still no gas")
    one.note_problem("", 10)
    assert other.problem() is None
    other.accept_clock(17, 1)
    other.accept_time(18, 1)
    assert (one.accepted_clock(), one.accepted_time(), one.taken_back()) == (17, 18, None)


def test_a_round_is_answered_once_by_whatever_process(opened: Open) -> None:
    stores = [AnsweredRounds(opened(ANSWERS)) for _ in range(4)]
    study = bytes(range(32))

    def keep(number: int) -> bool:
        try:
            stores[number].keep(study, AnsweredRound(1, b"asked", b"masked %d" % number))
        except RoundRefused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(keep, range(4)))
    assert done.count(True) == 1
    newest = stores[3].newest(study)
    assert newest is not None
    assert newest.masked == b"masked %d" % done.index(True)


def test_the_newest_answer_alone_is_opened_and_its_secret_is_never_shown(opened: Open) -> None:
    one, other = (AnsweredRounds(opened(ANSWERS)) for _ in range(2))
    study, strange = bytes(range(32)), bytes(32)
    for attempt in (1, 2):
        sealed = Sealed(attempt, 1, b"secret %d" % attempt)
        one.keep(study, AnsweredRound(attempt, b"asked", b"masked"), sealed=sealed, next_key=b"key %d" % attempt)
    one.keep(strange, AnsweredRound(1, b"asked", b"masked"), sealed=Sealed(1, 1, b"theirs"), next_key=b"theirs")
    for attempt in (0, 1, 3):
        with pytest.raises(RoundRefused, match="not the newest"):
            other.agree_to_open(study, attempt)
    assert other.agree_to_open(study, 2) == one.sealed(study) == Sealed(2, 1, b"secret 2", opened=True)
    assert (one.next_key(study), one.next_key(strange)) == (NextKey(3, b"key 2"), NextKey(2, b"theirs"))
    kept = one.sealed(strange)
    assert kept == Sealed(1, 1, b"theirs")
    assert b"theirs".decode() not in f"{kept!r} {one.next_key(strange)!r}"
    with pytest.raises(RoundRefused, match="was opened before"):
        other.keep(study, AnsweredRound(3, b"asked", b"masked"), sealed=Sealed(3, 1, b"again"))
    one.keep(study, AnsweredRound(3, b"asked", b"masked"), sealed=Sealed(3, 2, b"next round"))
    assert other.sealed(study) == Sealed(3, 2, b"next round")


def test_what_marks_a_file_never_changes() -> None:
    """A file is known by it for as long as there are homes."""
    marks = {one.name: (f"{one.application_id:x}", one.unnumbered) for one, _, _ in CLOSED.values()}
    assert marks == {
        "accounts": ("54574143", 1),
        "sign_ins": ("54575349", 0),
        "consents": ("5457434e", 1),
        "policies": ("5457504c", 0),
        "answers": ("54574152", 1),
        "study_journal": ("5457534a", 0),
        "anchors": ("5457414a", 1),
        "witness_memory": ("5457574d", 1),
        "witness_state": ("54575753", 1),
    }


def test_a_stores_version_is_that_of_its_newest_migration() -> None:
    for schema, _, _ in CLOSED.values():
        newest = max(int(one.name[:4]) for one in schema.revisions.glob("[0-9]*_*.py"))
        assert (schema.name, schema.version) == (schema.name, newest)


def test_a_study_stands_where_it_is_in_every_process(opened: Open) -> None:
    study, other = bytes(range(32)), bytes(32)
    one, same = (StudyJournal(opened(JOURNAL), study) for _ in range(2))
    strange = StudyJournal(opened(JOURNAL), other)
    one.begin(7, "marie")
    strange.begin(8, "otto")
    assert (same.begun(), same.pending(), list(same.totals()), same.next_attempt()) == (Begun(7, "marie"), None, [], 1)
    question = Question(1, 3, b"\x00" * 8, ())
    theirs = Question(1, 1, b"\x01" * 8, ())
    strange.ask(theirs)
    one.ask(Question(1, 2, b"", ()))
    one.ask(question)  # the one before is asked no more
    assert (same.pending(), strange.pending()) == ((question, None), (theirs, None))
    one.collect({})
    assert (same.pending(), strange.pending()) == ((question, {}), (theirs, None))
    strange.learn(theirs, np.array([7], dtype=np.int64))
    same.learn(question, np.array([2, -(2**62)], dtype=np.int64))
    assert one.pending() is None
    assert [list(total) for total in one.totals()] == [[2, -(2**62)]]
    assert [list(total) for total in strange.totals()] == [[7]]
    assert (one.next_attempt(), strange.next_attempt()) == (4, 2)
    one.learn(Question(2, 9, b"", ()), np.array([3], dtype=np.int64))
    assert (same.next_attempt(), [list(total) for total in same.totals()]) == (10, [[2, -(2**62)], [3]])
    groups = (("mercy", "northgate"), ("lakeside",))
    one.learn(Question(3, 11, b"", (), groups), np.array([5], dtype=np.int64), [np.array([n]) for n in (1, 4)])
    assert [(number, who, list(total)) for number, who, total in same.group_sums()] == [
        (3, groups[0], [1]),
        (3, groups[1], [4]),
    ]
    for journal in (one, strange):
        journal.review(Review("mercy", False, "olga", "looked at", 1))
    one.review(Review("mercy", True, "olga", "ruins sums", 2))
    one.review(Review("lakeside", False, "petra", "looked at", 3))
    assert (same.quarantined(), strange.quarantined()) == ({"mercy"}, frozenset())
    assert [review.at_ms for review in same.reviews().values()] == [3, 2]
    same.forget()
    assert (one.begun(), list(one.totals()), strange.begun()) == (None, [], Begun(8, "otto"))
    assert [list(total) for total in strange.totals()] == [[7]]


def test_a_sign_in_is_one_truth_in_every_process(opened: Open) -> None:
    clock = FixedClock()
    one, other = (SignInStore(opened(SIGN_INS), NobodysKeys(), clock) for _ in range(2))
    secret = one.put(Kind.SESSION, "lee", b"first", clock.now_ms() + 1000)
    found = other.find(Kind.SESSION, secret)
    assert found is not None
    assert other.replace(found, b"second")
    assert not one.replace(found, b"third")  # it is another one by now
    kept = one.find(Kind.SESSION, secret)
    assert kept is not None
    assert (kept.value, [each.name for each in one.of(Kind.SESSION, "lee")]) == (b"second", [kept.name])
    assert one.of(Kind.SESSION, "olga") == []
    rotated = other.put(Kind.SESSION, "lee", b"new", clock.now_ms() + 1000, instead_of=kept)
    with pytest.raises(SignInRefused):
        one.put(Kind.SESSION, "lee", b"another", clock.now_ms() + 1000, instead_of=kept)
    assert one.find(Kind.SESSION, secret) is None
    assert [each.value for each in one.of(Kind.SESSION, "lee")] == [b"new"]
    clock.advance(1000)
    assert other.find(Kind.SESSION, rotated) is None
    assert other.take(Kind.SESSION, rotated) is None
    assert one.of(Kind.SESSION, "lee") == []


def test_what_is_good_once_is_taken_once_by_whatever_process(opened: Open) -> None:
    clock = FixedClock()
    stores = [SignInStore(opened(SIGN_INS), NobodysKeys(), clock) for _ in range(4)]
    secret = stores[0].put(Kind.SESSION, "lee", b"once", clock.now_ms() + 1000)
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda store: store.take(Kind.SESSION, secret), stores))
        used = list(pool.map(lambda store: store.use_once(b"jti 7", clock.now_ms() + 1000), stores))
    assert sum(one is not None for one in taken) == 1
    assert sorted(used) == [False, False, False, True]
    clock.advance(1000)
    assert stores[1].use_once(b"jti 7", clock.now_ms() + 1000)


def test_an_account_has_so_many_sign_ins_and_the_first_to_end_gives_way(opened: Open) -> None:
    clock = FixedClock()
    store = SignInStore(opened(SIGN_INS), NobodysKeys(), clock)
    other = store.put(Kind.SESSION, "olga", b"", clock.now_ms() + 1)
    secrets = [store.put(Kind.SESSION, "lee", b"", clock.now_ms() + 10 + number) for number in range(MOST_OF_KIND + 2)]
    assert [store.find(Kind.SESSION, one) is None for one in secrets] == [True] * 2 + [False] * MOST_OF_KIND
    assert store.find(Kind.SESSION, other) is not None
    clock.advance(10_000)
    store.put(Kind.SESSION, "lee", b"", clock.now_ms() + 10)
    with opened(SIGN_INS).reading() as db:
        assert db.execute(text("SELECT count(*) FROM sign_in")).scalar_one() == 1


@pytest.mark.parametrize(
    ("in_file", "on_server"),
    [
        ("UPDATE sign_in SET expires_at_ms = expires_at_ms + 1000000", ""),
        ("UPDATE sign_in SET owner = x'00'", "UPDATE sign_in SET owner = '\\x00'"),
        ("UPDATE sign_in SET sealed = x'00'", "UPDATE sign_in SET sealed = '\\x00'"),
        (
            "UPDATE sign_in SET sealed = (SELECT sealed FROM sign_in WHERE expires_at_ms = 1893456009000)",
            "",
        ),
    ],
    ids=["longer", "another's", "made up", "another row's"],
)
def test_whoever_writes_to_the_store_signs_in_as_nobody(opened: Open, in_file: str, on_server: str) -> None:
    clock = FixedClock(1_893_456_000_000)
    store = SignInStore(opened(SIGN_INS), NobodysKeys(), clock)
    olga = store.put(Kind.SESSION, "olga", b"olga", clock.now_ms() + 5000)
    store.put(Kind.SESSION, "lee", b"lee", clock.now_ms() + 9000)
    run(opened, SIGN_INS, in_file, on_server)
    with pytest.raises(StoreAltered):
        store.find(Kind.SESSION, olga)


def sign_ins(place: Database) -> SignInStore:
    return SignInStore(place, NobodysKeys(), FixedClock())


CLOSED: dict[str, tuple[Schema, Callable[[Database], object], type[Exception]]] = {
    "accounts": (ACCOUNTS, lambda place: AccountStore(place, Keys(), None).all(), Unavailable),
    "sign-ins": (SIGN_INS, lambda place: sign_ins(place).find(Kind.SESSION, ""), Unavailable),
    "consents": (CONSENTS, lambda place: ConsentStore(place, Keys(), FixedClock()).current(ANN), Unavailable),
    "policies": (POLICIES, lambda place: PolicyStore(place, Keys(), Policy.load()).current(), Unavailable),
    "answers": (ANSWERS, lambda place: AnsweredRounds(place).newest(b""), Unavailable),
    "study journal": (JOURNAL, lambda place: StudyJournal(place, b"").begun(), Unavailable),
    "anchors": (ANCHORS, lambda place: AnchorJournal(place).notes(), LogUnavailable),
    "memory": (WITNESS_MEMORY, lambda place: WitnessMemory(place).all(), LogUnavailable),
    "state": (WITNESS_STATE, lambda place: WitnessState(place).newest(""), LogUnavailable),
}


@pytest.mark.parametrize("name", CLOSED)
def test_a_closed_store_fails_in_its_own_words(opened: Open, name: str) -> None:
    schema, use, error = CLOSED[name]
    database = opened(schema)
    use(database)
    database.close()
    with pytest.raises(error, match=r"closed|cannot be used"):
        use(database)


@pytest.mark.slow
def test_a_server_that_restarts_costs_a_reconnection(postgres: Postgres) -> None:
    uri = postgres.database()
    store = ConsentStore(open_database(uri, CONSENTS), Keys(), FixedClock(), Log())
    store.put(ANN, (Provision(effect="permit"),))
    with psycopg.connect(postgres.uri("postgres"), autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert store.current(ANN).version == 1
    assert store.put(ANN, ()).version == 2
    store.close()
