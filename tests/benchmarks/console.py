"""The console's pages over HTTP, at a million events: a served node, an officer's session, one request after the other.

Two ways to a million. With ``TWINWARD_BENCH_HOME`` a home of ``python -m tests.walk.home`` is served: every event is
one that a node decided and logged. Without it the index is filled with drawn facts (roles, units, reasons, a detail of
its own each), and a row that a page shows is read from the few hundred events that the log holds. What a page costs is
there whole either way: the search over a million, fifty events opened and written out, the page's own event.

Wall is what a person waits, and counts everything else that the machine does; CPU is this process's, client included.
What is made once, or once a day, is made before it is measured: imports, the examination of the review's day.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target, percentile
from tests.browser.conftest import served
from tests.integration.console.fixtures import PASSWORD, House, build
from tests.walk.home import PASSWORD as WALKED
from twinward.audit.event_index.columns import OPEN
from twinward.console.sessions import SESSION_COOKIE
from twinward.core import collector
from twinward.core.vocabulary import Action, Category, Purpose, Role
from twinward.node import Node, open_node

_FILTERS: Final = {
    "no filter": "",
    "a month": "since={since}&until={until}",
    "a person": "agent=dr-lee",
    "a role": "role=clinician",
    "a unit": "unit={unit}",
    "an action": "action=search",
    "a purpose": "purpose=TREAT",
    "a category": "category=labs",
    "refused": "decision=deny",
    "emergencies": "emergency=yes",
    "a twin": "twin={twin}",
    "officers' own among them": "own=yes",
    "a common word": "text=observation",
    "a rare word": "text=observation%2F12345",
    "all of it together": "since={since}&until={until}&role=clinician&unit={unit}&purpose=TREAT&category=labs",
    "sorted by twin": "sort=twin",
    "sorted by agent": "sort=agent",
    "sorted by action": "sort=action",
    "sorted by decision": "sort=decision",
    "the oldest first": "sort=oldest",
    "page 1,000": "page=1000",
}
PAGES: Final = {
    "Home": "",
    "one access": "/accesses/12",
    **{f"accesses, {name}": f"/accesses?{query}" for name, query in _FILTERS.items()},
    "accesses on paper": "/accesses/print?agent=dr-lee",
    "from a person to a twin": "/people",
    "reviews": "/reviews",
    "emergencies": "/emergencies",
    "breaches": "/breaches",
    "erasure": "/erasures",
    "an erasure's dry run": "/erasures?twin={twin}",
    "contacts": "/contacts",
    "the policy": "/policy",
    "consents": "/consents?twin={twin}",
    "verify": "/verify",
    "check a file": "/check",
    "take out": "/exports/{twin}/pdf",
    "the node": "/node",
    "studies": "/studies",
    "vendors": "/outside",
    "one vendor": "/outside/acme",
    "accounts": "/accounts",
    "one account": "/accounts/dr-lee",
    "one's own account": "/account",
    "preferences": "/preferences",
}
"""Every page of an officer that needs nothing else, by its address under /console."""
_START_MS: Final = 1_735_689_600_000
_AT_ONCE: Final = 50_000
_DERIVED_S: Final = 120.0


def _swell(node: Node, events: int) -> None:
    """Fill the index with drawn facts, as if the log were that long."""
    index, draw = node.audit.event_index, random.Random(1)
    held = index.filled().stop
    text, sizes = index._strings.code, (len(Role), len(Action), len(Purpose))
    for start in range(0, events, _AT_ONCE):
        rows = []
        for at in range(start, min(events, start + _AT_ONCE)):
            role, action, purpose = (draw.randrange(size) for size in sizes)
            who, where, whom = f"dr-{draw.randrange(1000)}", f"ward {draw.randrange(40)}", draw.randrange(50_000)
            why, what = f"reason {draw.randrange(30)} of the policy", f"reference Observation/{draw.randrange(10**9)}"
            categories = draw.randrange(1, 1 << len(Category))
            facts = (role, text(where), action, purpose, text(f"0190-{whom:032d}"), categories, draw.random() < 0.95)
            rows.append((OPEN, _START_MS + at * 31_000, text(who), *facts, text(why), text(what)))
        index._columns.put(start, rows)
        index._units.update(row[4] for row in rows)
    index._start, index._stop = 0, events
    index._follow = lambda at_once: None  # type: ignore[method-assign] # the log is not that long
    opened = node.access_search._rows
    node.access_search._rows = lambda indices: opened(indices % held)  # type: ignore[method-assign]


@contextmanager
def _drawn(events: int) -> Iterator[tuple[House, str, Mapping[str, str]]]:
    """A small house whose index holds so many drawn facts; an officer's session; what addresses are filled with."""
    with tempfile.TemporaryDirectory() as folder:
        house = build(Path(folder) / "home")
        _swell(house.node, events)
        values = {"since": "2025-03-01", "until": "2025-03-30", "unit": "ward+3", "twin": house.twins[0]}
        yield house, house.node.sign_ins.by_password("officer", PASSWORD), values
        house.node.close()


@contextmanager
def _walked(home: Path) -> Iterator[tuple[House, str, Mapping[str, str]]]:
    """The node of a home that was made for walks, its whole index read."""
    with open_node(home) as node:
        node.audit.event_index.deepen()
        day = 86_400_000
        since, until = (
            time.strftime("%Y-%m-%d", time.gmtime((node.clock.now_ms() - ago * day) / 1000)) for ago in (60, 30)
        )
        twin = node.accounts.record("antonina").twin
        assert twin is not None
        house = House(node, (twin,), {})
        values = {"since": since, "until": until, "unit": "surgery", "twin": twin}
        yield house, node.sign_ins.by_password("olga", WALKED), values


def pages_over_http(scale: Scale) -> list[Row]:
    kept, times = os.environ.get("TWINWARD_BENCH_HOME", ""), scale.pick(30, 5)
    took: dict[str, list[tuple[float, float]]] = {}
    with _walked(Path(kept)) if kept else _drawn(scale.pick(1_000_000, 20_000)) as (house, session, values):
        events = house.node.audit.event_index.filled().stop
        with served(house) as url, httpx.Client(base_url=url, cookies={SESSION_COOKIE: session}, timeout=60) as client:
            collector.back_at_work()  # as a served node does before its first request
            paths = {name: f"/console{path.format(**values)}" for name, path in PAGES.items()}
            for path in paths.values():
                _seconds(client, path)
            _derived(client)
            for name, path in paths.items():
                took[name] = [_seconds(client, path) for _ in range(times)]
    target = Target("≤200 ms at the 95th percentile", "value", "most", 200.0)
    rows = []
    for name, each in took.items():
        work = f"{events:,} events: {name}"
        wall, cpu = ([one[place] for one in each] for place in (0, 1))
        rows.append(Row(f"{work}, p95 of {times}", Figure.of([percentile(wall, 0.95)], "ms", 1000), target=target))
        rows.append(Row(f"{work}, CPU, p95 of {times}", Figure.of([percentile(cpu, 0.95)], "ms", 1000), target=target))
    return rows


def _derived(client: httpx.Client) -> None:
    """The page Verify has begun to derive a large log beside: what the others cost is measured without it."""
    until = time.monotonic() + _DERIVED_S
    while client.get("/console/verify/progress").json()["running"] and time.monotonic() < until:
        time.sleep(0.5)


def _seconds(client: httpx.Client, path: str) -> tuple[float, float]:
    """Wall and CPU seconds of one request."""
    cpu, began = time.process_time(), time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began, time.process_time() - cpu


BENCHMARKS = (
    Benchmark(
        "ledger.console_pages",
        "each page and filter over HTTP with an officer's session, wall and CPU; facts of a million events drawn, rows"
        " read from a small log, or TWINWARD_BENCH_HOME's; no baseline",
        pages_over_http,
        in_quick=False,
    ),
)
