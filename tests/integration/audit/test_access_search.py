"""Accesses found by filters, held against a plain loop over the decoded events."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.audit.test_audit_trail import ANNA, BERT, EVENT, House, open_house
from twinward.access.errors import PermitInvalid
from twinward.audit.event_index import index as event_index
from twinward.audit.event_index.columns import ERASED, NOBODY, OPEN, Columns
from twinward.audit.event_index.selection import select, select_part
from twinward.audit.event_index.strings import Strings
from twinward.audit.exports.csv_table import event_cells
from twinward.audit.models import AccessEvent, RowState
from twinward.audit.queries import AccessQuery, Sort, day_of
from twinward.audit.rows import row_of
from twinward.audit.search import AccessSearch
from twinward.audit.service import Audit
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward_ledger.errors import LogCorrupt

DAY_MS = 24 * 3600 * 1000
NOON_MS = EVENT.at_ms - EVENT.at_ms % DAY_MS + DAY_MS // 2
AGENTS, UNITS, WHY = (
    ("dr-osei", "nurse-li", "Ågot"),
    ("ward 4", "", "Ward 4 east"),
    ("for TREATMENT", "refused: Straße", ""),
)


def some_events(count: int, seed: int = 1) -> list[AccessEvent]:
    draw = random.Random(seed)
    return [
        replace(
            EVENT,
            at_ms=NOON_MS + place * DAY_MS // 20,
            agent=draw.choice(AGENTS),
            role=draw.choice((Role.OFFICER, Role.CLINICIAN, Role.VENDOR)),
            unit=draw.choice(UNITS),
            action=draw.choice((Action.READ, Action.AUDIT, Action.BREAK_GLASS)),
            purpose=draw.choice((Purpose.TREATMENT, Purpose.EMERGENCY)),
            twin=draw.choice((ANNA, BERT, None)),
            categories=draw.choice(((), (Category.LABS,), (Category.LABS, Category.VITALS))),
            decision=draw.choice(("permit", "deny")),
            reason=draw.choice(WHY),
            detail=draw.choice(((), (("route", "fhir"),), (("justification", "needs\nHELP now"),))),
        )
        for place in range(count)
    ]


def fits(event: AccessEvent, query: AccessQuery) -> bool:
    """What the filters mean, said plainly."""
    texts = (event.agent, event.unit, event.reason, *(f"{name} {value}" for name, value in event.detail))
    said = [one.casefold().replace("\n", " ") for one in texts]
    return all(
        (
            query.since is None or day_of(event.at_ms) >= query.since,
            query.until is None or day_of(event.at_ms) <= query.until,
            query.agent in ("", event.agent),
            query.unit in ("", event.unit),
            query.role in (None, event.role),
            query.action in (None, event.action),
            query.purpose in (None, event.purpose),
            query.category is None or query.category in event.categories,
            query.decision in ("", event.decision),
            query.twin in (None, event.twin),
            not query.emergency or event.purpose is Purpose.EMERGENCY or event.action is Action.BREAK_GLASS,
            not (query.hides_own and event.role is Role.OFFICER and event.action is Action.AUDIT),
            any(query.text.casefold().replace("\n", " ") in one for one in said),
        )
    )


def keyed(event: AccessEvent, index: int, sort: Sort) -> tuple[object, int]:
    roles, actions, purposes = list(Role), list(Action), list(Purpose)
    key: object = {
        Sort.AGENT: event.agent,
        Sort.UNIT: event.unit,
        Sort.ROLE: roles.index(event.role),
        Sort.ACTION: actions.index(event.action),
        Sort.PURPOSE: purposes.index(event.purpose),
        Sort.DECISION: event.decision == "permit",
    }.get(sort, 0)
    return (key, index if sort is Sort.OLDEST else -index)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("search"), None) as house:
        house.audit.record(some_events(160))
        yield house


def search_of(house: House) -> AccessSearch:  # type: ignore[type-arg]
    return AccessSearch(house.audit, house.authority)


_DAYS = st.none() | st.integers(0, 8).map(lambda day: day_of(NOON_MS + day * DAY_MS))
QUERIES = st.builds(
    AccessQuery,
    since=_DAYS,
    until=_DAYS,
    agent=st.sampled_from(("", "", *AGENTS, "nobody")),
    role=st.sampled_from((None, None, Role.OFFICER, Role.CLINICIAN, Role.PATIENT)),
    unit=st.sampled_from(("", "", *UNITS, "ward 9")),
    action=st.sampled_from((None, None, Action.READ, Action.AUDIT, Action.SHRED)),
    purpose=st.sampled_from((None, None, Purpose.EMERGENCY)),
    category=st.sampled_from((None, None, Category.VITALS, Category.HIV)),
    decision=st.sampled_from(("", "", "permit", "deny")),
    emergency=st.booleans(),
    twin=st.sampled_from((None, None, ANNA, TwinId("nobody"))),
    text=st.sampled_from(("", "", "STRASSE", "help", "ward 4", "fhir", ".*", "ågot", "ard 4\nfor")),
    hides_own=st.booleans(),
    sort=st.sampled_from([one for one in Sort if one is not Sort.TWIN]),
    falls=st.booleans(),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES)
def test_what_is_found_is_what_a_plain_loop_finds_in_its_order(full: House, query: AccessQuery) -> None:
    events = some_events(160)
    expected = [index for index, event in enumerate(events) if fits(event, query)]
    filled = full.audit.event_index.filled()
    assert filled.select(query).tolist() == in_order(expected, query)


@pytest.mark.parametrize("falls", [False, True])
@pytest.mark.parametrize("sort", [one for one in Sort if one is not Sort.TWIN])
def test_all_events_are_in_each_order_and_the_other_way_round(full: House, sort: Sort, falls: bool) -> None:
    query = AccessQuery(hides_own=False, sort=sort, falls=falls)
    assert full.audit.event_index.filled().select(query).tolist() == in_order(range(160), query)


def test_erased_events_stand_behind_whichever_way_an_order_goes() -> None:
    columns, strings = Columns(), Strings()
    columns.reserve(4)
    named = [(OPEN, strings.code("a")), (ERASED, NOBODY), (OPEN, strings.code("b")), (OPEN, strings.code("a"))]
    columns.put(0, [(state, 0, who, *(0, 0, 0, 0), NOBODY, 0, True, 0, 0) for state, who in named])
    for falls, expected in ((False, [3, 0, 2, 1]), (True, [2, 3, 0, 1])):
        query = AccessQuery(hides_own=False, sort=Sort.AGENT, falls=falls)
        assert select(columns, strings, 0, 4, query).tolist() == expected
        total, part = select_part(columns, strings, 0, 4, query, 1, 2)
        assert (total, part.tolist()) == (4, expected[1:3])


def in_order(found: Iterable[int], query: AccessQuery) -> list[int]:
    """Indices in a query's order, by plain sorting; equals stay the newest first."""
    events, by_time = some_events(160), query.sort in (Sort.NEWEST, Sort.OLDEST)
    keys: dict[int, Any] = {index: keyed(events[index], index, query.sort) for index in found}
    first = sorted(keys, key=lambda index: keys[index][1])
    return sorted(first, key=lambda index: keys[index][0], reverse=query.falls and not by_time)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=QUERIES, sort=st.sampled_from(Sort), first=st.integers(0, 170), count=st.integers(1, 60), below=st.just(150)
)
def test_a_part_of_what_is_found_is_that_part_of_all_of_it(
    full: House, query: AccessQuery, sort: Sort, first: int, count: int, below: int
) -> None:
    filled, query = full.audit.event_index.filled(), replace(query, sort=sort)
    every = filled.select(query, below=below)
    total, part = filled.part(query, first, count, below=below)
    assert (total, part.tolist()) == (len(every), every[first : first + count].tolist())


@given(query=QUERIES.filter(lambda one: not (one.since and one.until and one.until < one.since)))
def test_an_address_says_a_query_and_gives_it_back(query: AccessQuery) -> None:
    by_time = query.sort in (Sort.NEWEST, Sort.OLDEST)
    said = replace(query, text=query.text.strip(), unit=query.unit.strip(), falls=query.falls and not by_time)
    assert AccessQuery.of(said.parameters()) == said


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"since": "yesterday"}, "2026-01-31"),
        ({"since": "2026-02-30"}, "2026-01-31"),
        ({"since": "0001-01-01"}, "2026-01-31"),
        ({"until": "9999-12-31"}, "2026-01-31"),
        ({"until": "２０２６-01-01"}, "2026-01-31"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "dates"),
        ({"role": "boss"}, "clinician"),
        ({"purpose": "fun"}, "TREAT"),
        ({"category": "gossip"}, "labs"),
        ({"action": "peek"}, "read"),
        ({"decision": "maybe"}, "list"),
        ({"emergency": "1"}, "page"),
        ({"own": "no"}, "page"),
        ({"sort": "random"}, "newest"),
        ({"text": "x" * 201}, "shorten"),
        ({"agent": "x" * 65}, "shorten"),
        ({"zone": "Mars/Olympus"}, "Europe/Berlin"),
        ({"zone": "../../etc/passwd"}, "Europe/Berlin"),
        ({"zone": "/etc/localtime"}, "Europe/Berlin"),
    ],
)
def test_what_is_no_filter_is_refused_with_what_would_be_one(given: dict[str, str], hint: str) -> None:
    with pytest.raises(BadInput) as refused:
        AccessQuery.of(given)
    assert hint in refused.value.hint


def test_days_are_those_of_a_zone_and_an_address_says_whose() -> None:
    """Also the day that has 23 hours, and the first and last days that there are."""
    asked = {"since": "2026-03-29", "until": "2026-03-29"}
    here, there = AccessQuery.of(asked), AccessQuery.of(asked, "Europe/Berlin")
    assert (there.since_ms, there.until_ms) == (1774738800_000, 1774738800_000 + 23 * 3600_000)
    assert (here.since_ms, here.until_ms) == (1774742400_000, 1774742400_000 + 24 * 3600_000)
    for one in (here, there):
        assert AccessQuery.of(one.parameters(), "Asia/Tokyo") == one, "a link means for everybody what it meant"
    assert "zone" not in AccessQuery.of({"role": "officer"}, "Europe/Berlin").parameters()
    assert not AccessQuery.of({"zone": "Asia/Tokyo"}).narrows
    for zone in ("Etc/GMT+12", "Pacific/Kiritimati"):
        edges = AccessQuery.of({"since": "1970-01-01", "until": "9999-12-29"}, zone)
        assert (edges.until_ms or 0) > (edges.since_ms or 0)


def test_pages_stay_as_they_are_while_the_log_grows(house: House) -> None:
    house.audit.record(some_events(60))
    search, query = search_of(house), AccessQuery(hides_own=False)
    first = search.page(house.permit(), query, limit=25)
    assert (first.total, first.pages, first.below, first.reached) == (60, 3, 60, 0)
    house.audit.record(some_events(7))
    second = search.page(house.permit(), query, page=2, below=first.below, limit=25)
    assert [row.index for row in first.rows + second.rows] == list(range(59, 9, -1))
    assert search.page(house.permit(), query).total == 67
    assert search.page(house.permit(), query, page=99, below=60, limit=25).page == 3


def test_what_is_shown_is_read_from_the_log(house: House) -> None:
    events = some_events(5)
    house.audit.record(events)
    rows = search_of(house).page(house.permit(), AccessQuery(hides_own=False, sort=Sort.OLDEST)).rows
    assert [row.event for row in rows] == events
    assert all(row.opening for row in rows)


def test_without_a_permit_nothing_is_found(house: House) -> None:
    search = search_of(house)
    for permit in (house.permit(ANNA), house.permit(None, Action.READ)):
        with pytest.raises(PermitInvalid):
            search.page(permit, AccessQuery())
        with pytest.raises(PermitInvalid):
            search.stream(permit, AccessQuery())
        with pytest.raises(PermitInvalid):
            search.accesses(permit, AccessQuery())
        with pytest.raises(PermitInvalid):
            search.tally(permit, 0, 1, 1)
    with pytest.raises(PermitInvalid):
        search.of_twin(house.permit(BERT), ANNA)


@pytest.mark.parametrize("page", [{"page": 0}, {"limit": 0}, {"limit": 501}, {"page": -1}])
def test_a_page_that_cannot_be_is_refused(house: House, page: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="page is"):
        search_of(house).page(house.permit(), AccessQuery(), **page)  # type: ignore[arg-type]


def test_of_a_shredded_patient_only_the_time_stays_in_memory(house: House) -> None:
    secret = replace(
        EVENT, twin=ANNA, agent="dr-secret", unit="ward secret", reason="secretly", detail=(("x", "secret"),)
    )
    kept = replace(EVENT, twin=BERT, agent="dr-kept")
    house.audit.record([secret, kept])
    search = search_of(house)
    assert search.page(house.permit(), AccessQuery(agent="dr-secret")).total == 1
    house.audit.record([replace(EVENT, twin=ANNA, action=Action.SHRED, role=Role.OFFICER)])
    house.keyring.shred(ANNA)
    house.audit.record([replace(EVENT, twin=ANNA, agent="dr-late", decision="deny")])
    for query in (AccessQuery(agent="dr-secret"), AccessQuery(text="secret"), AccessQuery(unit="ward secret")):
        assert search.page(house.permit(), query).total == 0
    found = search.page(house.permit(), AccessQuery(twin=ANNA))
    assert [(row.index, row.state) for row in found.rows] == [
        (3, RowState.OPEN),
        (2, RowState.ERASED),
        (0, RowState.ERASED),
    ]
    assert [row.index for row in search.page(house.permit(), AccessQuery(agent="dr-late")).rows] == [3]
    assert "ward secret" not in found.units
    texts = house.audit.event_index.filled().strings.texts
    assert not [text for text in texts if "secret" in text]
    again = search.page(house.permit(), AccessQuery(agent="dr-kept", unit=EVENT.unit, text=EVENT.reason))
    assert [row.index for row in again.rows] == [1]


def test_an_altered_body_fits_every_query_so_that_no_filter_hides_it(house: House, tmp_path: Path) -> None:
    house.audit.record(some_events(6))
    with closing(sqlite3.connect(tmp_path / "log.db")) as database, database:
        database.execute("UPDATE bodies SET body = (SELECT body FROM bodies WHERE idx = 2) WHERE idx = 3")
    found = search_of(house).page(house.permit(), AccessQuery(agent="nobody", twin=BERT))
    assert [(row.index, row.state) for row in found.rows] == [(3, RowState.DAMAGED)]


def test_what_is_taken_out_together_is_what_each_row_says_alone(house: House, tmp_path: Path) -> None:
    """Over several reads of the store, in every order; one of a patient who was erased, one altered, one cut out."""
    house.audit.record(some_events(700))
    search, store, sealer = search_of(house), house.consortium.log.store, house.audit.sealer
    search.page(house.permit(), AccessQuery())
    house.keyring.shred(BERT)
    with closing(sqlite3.connect(tmp_path / "log.db")) as database, database:
        database.execute("UPDATE bodies SET body = (SELECT body FROM bodies WHERE idx = 2) WHERE idx = 3")
        database.execute("DELETE FROM bodies WHERE idx = 400")
    states = set()
    for sort in Sort:
        total, found = search.stream(house.permit(), AccessQuery(sort=sort, hides_own=False))
        rows = list(found)
        alone = [row_of(sealer, house.consortium.log.origin, one.index, store.entry(one.index)) for one in rows]
        assert rows == alone
        assert list(map(event_cells, rows)) == list(map(event_cells, alone))
        assert len({one.index for one in rows}) == len(rows) == total == 700
        states |= {one.state for one in rows}
    assert states == {RowState.OPEN, RowState.ERASED, RowState.DAMAGED}


@pytest.mark.parametrize(
    "altered",
    [
        "bodies SET body = 5",
        "bodies SET body = 0",
        "bodies SET body = 'text'",
        "bodies SET tags = 5",
        "leaves SET leaf = 7",
    ],
)
def test_a_row_of_another_type_hides_no_other(house: House, tmp_path: Path, altered: str) -> None:
    """SQLite holds what is written, whatever the column's type."""
    house.audit.record(some_events(10))
    search_of(house).page(house.permit(), AccessQuery())
    with closing(sqlite3.connect(tmp_path / "log.db")) as database, database:
        database.execute(f"UPDATE {altered} WHERE idx = 3")
    found = list(search_of(house).stream(house.permit(), AccessQuery(sort=Sort.OLDEST, hides_own=False))[1])
    damaged = RowState.OPEN if "tags" in altered else RowState.DAMAGED
    assert [one.state for one in found] == [RowState.OPEN] * 3 + [damaged] + [RowState.OPEN] * 6
    if "leaf" in altered:
        with pytest.raises(LogCorrupt) as told:
            list(house.consortium.log.store.leaves(0, 10))
        assert told.value.first_bad_index == 3


def test_older_events_follow_and_how_far_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_index, "AT_ONCE", 10)
    monkeypatch.setattr(event_index, "_CHUNK", 4)
    events = some_events(33)
    house.audit.record(events)
    search, query = search_of(house), AccessQuery(hides_own=False)
    first = search.page(house.permit(), query)
    assert (first.reached, first.total, first.reached_ms) == (23, 10, events[23].at_ms)
    assert not house.audit.event_index.deepen(going_on=lambda: False)
    facts = search.accesses(house.permit(), AccessQuery(since=day_of(events[12].at_ms), hides_own=False))
    expected = [index for index, one in enumerate(events) if day_of(one.at_ms) >= day_of(events[12].at_ms)]
    assert [one.index for one in facts] == expected
    assert house.audit.event_index.deepen()
    assert search.page(house.permit(), query).total == 33


def test_facts_are_those_of_the_events(house: House) -> None:
    events = some_events(40)
    house.audit.record(events)
    for one in search_of(house).accesses(house.permit(), AccessQuery(hides_own=False)):
        event = events[one.index]
        assert (one.at_ms, one.agent, one.role, one.unit) == (event.at_ms, event.agent, event.role, event.unit)
        assert (one.action, one.purpose, one.twin) == (event.action, event.purpose, event.twin)
        assert (one.categories, one.permitted) == (event.categories, event.decision == "permit")


def test_neighbours_are_the_nearest_of_the_person_and_of_the_patient(house: House) -> None:
    events = some_events(60)
    house.audit.record(events)
    search = search_of(house)
    row = next(house.reader.event(house.permit(), i) for i in range(25, 60) if events[i].twin == ANNA)
    person, patient = search.neighbours(house.permit(), row, 2)
    of_person = [i for i, one in enumerate(events) if one.agent == row.event.agent]  # type: ignore[union-attr]
    place = of_person.index(row.index)
    assert [one.index for one in person] == of_person[place - 2 : place] + of_person[place + 1 : place + 3]
    assert all(one.twin == ANNA and one.index != row.index for one in patient)
    assert len(patient) == 4


def test_a_tally_counts_each_role_in_each_part(house: House) -> None:
    events = some_events(100)
    house.audit.record(events)
    since, until = NOON_MS, NOON_MS + 4 * DAY_MS
    tally = search_of(house).tally(house.permit(), since, until, 4)
    shown = [one for one in events if not (one.role is Role.OFFICER and one.action is Action.AUDIT)]
    for role in (Role.OFFICER, Role.CLINICIAN, Role.VENDOR):
        mine = [one for one in shown if one.role is role and since <= one.at_ms < until]
        assert sum(tally.by_role[role]) == len(mine)
        assert tally.by_role[role][1] == sum((one.at_ms - since) // DAY_MS == 1 for one in mine)
        assert tally.refused[role] == sum(one.decision == "deny" for one in mine)


def test_another_process_sees_what_this_one_writes(house: House, tmp_path: Path) -> None:
    """Another index over the same log: as a second process has."""
    other = AccessSearch(Audit.through(house.consortium.anchorer, house.keyring), house.authority)
    assert other.page(house.permit(), AccessQuery()).total == 0
    house.audit.record([EVENT])
    assert other.page(house.permit(), AccessQuery(agent=EVENT.agent)).total == 1


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path, None) as one:
        yield one
