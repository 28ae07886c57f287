"""What a vendor is shown: what would be sent, and what came back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from twinward.cli.screen import err, say

if TYPE_CHECKING:
    from twinward.client import Answers, Matches, Prepared


def announce(ready: dict[str, Prepared]) -> None:
    """What would be sent to whom, how long it took to make, and what the mode leaks: before anything is sent."""
    for name, one in ready.items():
        size = f"{one.upload_bytes:,} {'bytes in the clear' if one.mode.value == 'matrix' else 'encrypted bytes'}"
        took = f"{size}, made in {one.seconds * 1000:.0f} ms"
        err.print(f"to {one.hospital} ({name}) in {one.mode.value} mode: {took}", markup=False, soft_wrap=True)
    for leakage in dict.fromkeys(one.leakage for one in ready.values()):
        err.print(f"what this mode leaks: {leakage}", markup=False, soft_wrap=True)


def shown_answers(answers: Answers) -> dict[str, Any]:
    """Several hospitals' answers as JSON."""
    return {
        "answers": {name: shown(one) for name, one in answers.matches.items()},
        "failures": {one.hospital: str(one.error) for one in answers.failures},
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
        say(f"{failure.hospital}: no answer: {failure.error}")
    if several:
        say(f"{len(answers.found)} matches at {len(answers.matches)} hospitals, {len(answers.failures)} did not answer")


def shown(matches: Matches) -> dict[str, Any]:
    """One answer as JSON."""
    return asdict(matches) | {"mode": matches.mode.value}


def print_matches(matches: Matches) -> None:
    """One answer, for people."""
    many = "no matches told" if matches.count is None else f"{matches.count} matches"
    say(f"{matches.mode.value}, epoch {matches.epoch}: {many}")
    for number, handle in enumerate(matches.handles):
        distance = f"  blurred squared distance {matches.distances[number]}" if matches.distances else ""
        say(f"  {handle}{distance}")
    if matches.withheld:
        say(matches.withheld)
    say(f"{matches.budget_left} queries left")
    if matches.clear_bytes:
        err.print(f"sent {matches.clear_bytes:,} bytes in the clear, which the hospital saw", markup=False)
    if matches.upload_bytes:
        what = "bytes of the token it made of them" if matches.clear_bytes else "encrypted bytes"
        err.print(f"sent {matches.upload_bytes:,} {what}", markup=False)
