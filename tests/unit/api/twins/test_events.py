"""The event stream itself: how it begins, beats and ends, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from twinward.access.errors import SignInRefused
from twinward.api.http import problems
from twinward.api.twins import events
from twinward.api.twins.events import EventStreams
from twinward.api.twins.shape import pick, selection_of
from twinward.core.errors import BadInput, Busy, Refused
from twinward.twins.state.subscriptions import TwinChange


class Quiet:
    """A subscription to which nothing happens."""

    resume = 7

    def poll(self) -> Iterator[TwinChange]:
        return iter(())


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "POLL_S", 0.001)


def app_of(streams: EventStreams, begin: Callable[[], Quiet], signed_in: Callable[[], None]) -> TestClient:
    app = FastAPI()
    problems.install(app)
    app.get("/")(lambda: streams.serve("ward-3", begin, signed_in, lambda _: {}))
    return TestClient(app, raise_server_exceptions=False)


def after(polls: int) -> Callable[[], None]:
    """Signed in for so many looks, then no more."""
    left: Iterator[None] = iter([None] * polls)

    def ask() -> None:
        if next(left, SignInRefused) is SignInRefused:
            raise SignInRefused

    return ask


def test_a_stream_beats_while_nothing_happens_and_ends_with_the_token() -> None:
    streams = EventStreams()
    answer = app_of(streams, Quiet, after(events.POLLS_PER_BEAT * 2 + 1)).get("/")
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = answer.text.split("\n\n")
    assert frames[0].splitlines() == [f"retry: {events.RETRY_MS}", "id: 7", "event: ready", "data: {}"]
    assert frames[1:3] == [": still here"] * 2
    assert frames[3].startswith('event: end\ndata: {"error":{"kind":"SignInRefused"')
    assert streams.open == 0


def test_more_streams_than_there_may_be_are_refused_and_places_come_back() -> None:
    streams = EventStreams(most=0)
    refused = app_of(streams, Quiet, after(1)).get("/")
    assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "Busy")
    streams = EventStreams(most=1)
    for _ in range(3):
        assert app_of(streams, Quiet, after(2)).get("/").status_code == 200
    assert streams.open == 0


def test_one_account_takes_no_place_that_is_anothers() -> None:
    streams = EventStreams(most=3, of_one=2)
    held = [streams.serve("ward-3", Quiet, after(1), lambda _: {}) for _ in range(2)]
    with pytest.raises(Busy, match="of this account"):
        streams.serve("ward-3", Quiet, after(1), lambda _: {})
    assert streams.serve("ward-4", Quiet, after(1), lambda _: {}) not in held
    assert streams.open == 3


def test_a_subscription_that_is_refused_takes_no_place() -> None:
    def refuse() -> Quiet:
        raise Refused("no")

    streams = EventStreams(most=1)
    for _ in range(3):
        assert app_of(streams, refuse, after(1)).get("/").status_code == 403
    assert streams.open == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", {"a": 1, "b": {"c": {"d": 2, "e": 3}, "f": 4}}),
        ("a", {"a": 1}),
        ("/a,nothing", {"a": 1}),
        ("b/c/d", {"b": {"c": {"d": 2}}}),
        ("b(c/e,f)", {"b": {"c": {"e": 3}, "f": 4}}),
        ("b/c/d,b/c/e", {"b": {"c": {"d": 2, "e": 3}}}),
        ("b,b/c/d", {"b": {"c": {"d": 2, "e": 3}, "f": 4}}),
        ("b/c/d,b", {"b": {"c": {"d": 2, "e": 3}, "f": 4}}),
        ("a/x", {}),
    ],
)
def test_fields_choose_members(fields: str, expected: object) -> None:
    assert pick({"a": 1, "b": {"c": {"d": 2, "e": 3}, "f": 4}}, selection_of(fields)) == expected


@pytest.mark.parametrize("fields", [",", "a,", "(a)", "a(b", "a)b", "a((b))", "a(" * 12 + "b" + ")" * 12, "a" * 1001])
def test_what_is_no_list_of_fields_is_named(fields: str) -> None:
    with pytest.raises(BadInput):
        selection_of(fields)
