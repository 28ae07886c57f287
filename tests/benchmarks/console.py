"""The console's pages over HTTP, at a million events: a served node, a signed-in officer, one request after the other.

Writing a million sealed events takes minutes, so the index is filled with drawn facts (roles, units, reasons, a detail
of its own each), and a row that a page shows is read from the few hundred events that the log holds. What a page costs
is there whole: the search over a million, fifty events opened and written out, the page's own event in the log.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target, percentile
from tests.browser.conftest import served
from tests.integration.console.fixtures import PASSWORD, build
from twinward.audit.event_index.columns import OPEN
from twinward.console.sessions import SESSION_COOKIE
from twinward.core.vocabulary import Action, Category, Purpose, Role
from twinward.node import Node

PAGES: Final = {
    "Home": "/console",
    "the policy": "/console/policy",
    "one access": "/console/accesses/12",
    "accesses, no filter": "/console/accesses",
    "accesses of a month": "/console/accesses?since=2025-03-01&until=2025-03-30",
    "accesses of a role": "/console/accesses?role=clinician",
    "accesses of a unit": "/console/accesses?unit=ward+3",
    "accesses to a category": "/console/accesses?category=labs",
    "accesses in emergencies": "/console/accesses?emergency=yes",
    "accesses with a common word": "/console/accesses?text=observation",
    "accesses with a rare word": "/console/accesses?text=observation%2F12345",
    "accesses sorted by twin": "/console/accesses?sort=twin",
    "accesses sorted by agent": "/console/accesses?sort=agent",
}
_START_MS: Final = 1_735_689_600_000
_AT_ONCE: Final = 50_000


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


def pages_over_http(scale: Scale) -> list[Row]:
    events, times = scale.pick(1_000_000, 20_000), scale.pick(30, 5)
    with tempfile.TemporaryDirectory() as folder:
        house = build(Path(folder) / "home")
        _swell(house.node, events)
        cookies = {SESSION_COOKIE: house.node.sign_ins.by_password("officer", PASSWORD)}
        with served(house) as url, httpx.Client(base_url=url, cookies=cookies, timeout=60) as client:
            took = {name: [_seconds(client, path) for _ in range(times)] for name, path in PAGES.items()}
        house.node.close()
    target = Target("≤200 ms at the 95th percentile", "value", "most", 200.0)
    rows = []
    for name, each in took.items():
        work = f"{events:,} events: {name}"
        rows.append(Row(f"{work}, p95 of {times}", Figure.of([percentile(each, 0.95)], "ms", 1000), target=target))
        rows.append(Row(f"{work}, each", Figure.of(each, "ms", 1000)))
    return rows


def _seconds(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


BENCHMARKS = (
    Benchmark(
        "ledger.console_pages",
        "each page and filter over HTTP with an officer's session; facts of a million events drawn, rows read from a"
        " small log; no baseline",
        pages_over_http,
        in_quick=False,
    ),
)
