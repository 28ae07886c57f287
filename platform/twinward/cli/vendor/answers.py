"""What a vendor is shown: what would be sent, and what came back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twinward.cli.output import say, tell

if TYPE_CHECKING:
    from twinward.client import Answers, Matches, Prepared
    from twinward.protocol.terms import CohortLife


def announce(ready: dict[str, Prepared]) -> None:
    """What would be sent to whom, how long it took to make, and what the mode leaks: before anything is sent."""
    for name, one in ready.items():
        size = f"{one.upload_bytes:,} {'bytes in the clear' if one.mode.value == 'matrix' else 'encrypted bytes'}"
        took = f"{size}, made in {one.seconds * 1000:.0f} ms"
        tell(f"to {one_line(one.hospital)} ({name}) in {one.mode.value} mode: {took}")
    for leakage in dict.fromkeys(one.leakage for one in ready.values()):
        tell(f"what this mode leaks: {one_line(leakage)}")


def shown_answers(answers: Answers) -> dict[str, Any]:
    """Several hospitals' answers as JSON."""
    return {
        "answers": {name: shown(one) for name, one in answers.matches.items()},
        "failures": {one.hospital: str(one.error) for one in answers.failures},
        "hints": {one.hospital: one.error.hint for one in answers.failures if one.error.hint},
        "found": [{"hospital": one.hospital, "handle": one.handle, "distance": one.distance} for one in answers.found],
    }


def print_answers(answers: Answers) -> None:
    """Several hospitals' answers, for people."""
    several = len(answers.matches) + len(answers.failures) > 1
    for name, one in answers.matches.items():
        if several:
            say(name)
        print_matches(one)
    for failure in answers.failures:
        say(f"{failure.hospital}: no answer: {one_line(str(failure.error))}")
        if failure.error.hint:
            say(f"  what to do: {one_line(failure.error.hint)}")
    if several:
        say(f"{len(answers.found)} matches at {len(answers.matches)} hospitals, {len(answers.failures)} did not answer")


def shown(matches: Matches) -> dict[str, Any]:
    """One answer as JSON."""
    return asdict(matches) | {"mode": matches.mode.value}


def print_matches(matches: Matches) -> None:
    """One answer, for people."""
    many = "no matches told" if matches.count is None else f"{matches.count} matches"
    query = f", query {matches.query_id}" if matches.query_id else ""
    say(f"{matches.mode.value}, epoch {matches.epoch}{query}: {many}")
    for number, handle in enumerate(matches.handles):
        distance = f"  blurred squared distance {matches.distances[number]}" if matches.distances else ""
        say(f"  {handle}{distance}")
    if matches.withheld:
        say(one_line(matches.withheld))
    if matches.handles and matches.expires_at_s is not None:
        say(f"handles mean something until {datetime.fromtimestamp(matches.expires_at_s, tz=UTC):%Y-%m-%d %H:%M} UTC")
    say(f"{matches.budget_left} queries left")
    if matches.clear_bytes:
        tell(f"sent {matches.clear_bytes:,} bytes in the clear, which the hospital saw")
    if matches.upload_bytes:
        what = "bytes of the token it made of them" if matches.clear_bytes else "encrypted bytes"
        tell(f"sent {matches.upload_bytes:,} {what}")


def one_line(text: str) -> str:
    """A hospital's words on one line, so that they cannot pass for lines of this program."""
    return " ".join(text.split())


def life_line(cohort: CohortLife | None) -> str:
    """The running snapshot in a sentence."""
    if cohort is None:
        return "no snapshot of patients was taken in this epoch yet: the first question takes it"
    taken = f"{datetime.fromtimestamp(cohort.taken_ms / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"
    until = ""
    if cohort.ends_at_s is not None:
        until = f", the next after {datetime.fromtimestamp(cohort.ends_at_s, tz=UTC):%Y-%m-%d %H:%M} UTC"
    if cohort.frozen_since_ms is not None:
        frozen = datetime.fromtimestamp(cohort.frozen_since_ms / 1000, tz=UTC)
        until += f"; nobody joins since {frozen:%Y-%m-%d %H:%M} UTC"
    sizes = "".join(f"; {one_line(mode)} index of {size / 1e6:,.1f} MB" for mode, size in cohort.index_bytes.items())
    return f"patients as of {taken}, some {cohort.room} with noise{sizes}; whoever withdraws leaves at once{until}"
