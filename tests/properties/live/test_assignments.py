"""Whose a reading is, for any order of assigning, releasing, measuring and arriving: held against a slow reference."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from twinward.core.vocabulary import TwinId
from twinward.live.assignments import AssignmentLine
from twinward.live.errors import AssignmentConflict

TIMES = st.integers(0, 40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), st.sampled_from(["ann", "ben"]), TIMES),
        st.tuples(st.just("release"), st.just(""), TIMES),
        st.tuples(st.just("measure"), st.just(""), TIMES),
    ),
    max_size=30,
)


@dataclass
class Reference:
    """Every moment on its own: who has the device then, and whether a reading of then was placed."""

    owner: dict[int, str] = field(default_factory=dict)
    """Of moments that are decided; an open assignment covers every later one."""
    open_twin: str = ""
    open_from: int = 0
    placed: list[tuple[int, str]] = field(default_factory=list)

    def of(self, at: int) -> str:
        if self.open_twin and at >= self.open_from:
            return self.open_twin
        return self.owner.get(at, "")

    def assign(self, twin: str, at: int) -> bool:
        later = any(time >= at for time in self.owner)
        if self.open_twin or later or any(time >= at for time, _ in self.placed):
            return False
        self.open_twin, self.open_from = twin, at
        return True

    def release(self, at: int) -> bool:
        if not self.open_twin or at <= self.open_from or any(time >= at for time, _ in self.placed):
            return False
        self.owner |= dict.fromkeys(range(self.open_from, at), self.open_twin)
        self.open_twin = ""
        return True


@given(STEPS)
def test_a_reading_is_with_whom_the_device_was_when_it_measured(steps: list[tuple[str, str, int]]) -> None:
    line, slow = AssignmentLine(), Reference()
    for what, twin, at in steps:
        if what == "measure":
            assert (line.owner(at, at) or "") == slow.of(at)
            if slow.of(at):
                line = line.placed(at)
                slow.placed.append((at, slow.of(at)))
            continue
        try:
            line = line.assigned(TwinId(twin), at, "nurse") if what == "assign" else line.released(at)
            done = True
        except AssignmentConflict:
            done = False
        assert done == (slow.assign(twin, at) if what == "assign" else slow.release(at))
    for at, twin in slow.placed:  # whatever was changed since, what was placed is still true
        assert line.owner(at, at) == twin == slow.of(at)


@given(STEPS, TIMES, TIMES)
def test_a_series_is_somebodys_only_if_every_moment_of_it_is(
    steps: list[tuple[str, str, int]], one: int, other: int
) -> None:
    line, slow = AssignmentLine(), Reference()
    for what, twin, at in steps:
        if what == "assign" and slow.assign(twin, at):
            line = line.assigned(TwinId(twin), at, "nurse")
        elif what == "release" and slow.release(at):
            line = line.released(at)
    first, last = min(one, other), max(one, other)
    found = line.owner(first, last)
    if found is not None:
        assert {slow.of(at) for at in range(first, last + 1)} == {found}
