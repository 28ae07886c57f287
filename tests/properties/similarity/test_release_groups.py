"""Whatever is asked, in whatever order: nobody is told apart below the minimum, and first answers are exact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twinward.similarity.interfaces import Groups, Match
from twinward.similarity.release import MinimumCount
from twinward.vocabulary import TwinId

TWINS = [TwinId(f"t{n:02}") for n in range(24)]
MINIMUM = st.integers(1, 5)
BALLS = st.lists(st.frozensets(st.sampled_from(TWINS)), min_size=1, max_size=25)


def asked(minimum: int, balls: list[frozenset[TwinId]], refusing: frozenset[TwinId] = frozenset()) -> list[set[str]]:
    """The answers, one after the other, each keeping what was told before."""
    policy = MinimumCount(minimum, lambda vendor, twin: twin)
    told: Groups = frozenset()
    answers = []
    for ball in balls:
        matches = [Match(twin, 0) for twin in sorted(ball)]
        shown = policy.candidates(matches, told) - refusing
        release = policy.release(matches, vendor="v", epoch=1, releasable=shown, told=told)
        assert release.count == (len(release.handles) or None)
        told = release.groups
        assert all(len(group) >= minimum for group in told)
        assert sum(map(len, told)) == len(frozenset[TwinId]().union(*told))
        answers.append(set(release.handles))
    return answers


def cells(answers: list[set[str]]) -> list[set[str]]:
    """Handles that no answer tells apart."""
    found: dict[tuple[bool, ...], set[str]] = {}
    for handle in set[str]().union(*answers):
        found.setdefault(tuple(handle in answer for answer in answers), set()).add(handle)
    return list(found.values())


@given(MINIMUM, BALLS, st.frozensets(st.sampled_from(TWINS), max_size=6))
def test_no_history_is_shared_by_fewer_than_the_minimum(
    minimum: int, balls: list[frozenset[TwinId]], refusing: frozenset[TwinId]
) -> None:
    answers = asked(minimum, balls, refusing)
    assert all(len(cell) >= minimum for cell in cells(answers))
    assert not set[str]().union(*answers) & refusing


@given(MINIMUM, st.frozensets(st.sampled_from(TWINS)))
def test_a_first_answer_is_exact_or_nothing(minimum: int, ball: frozenset[TwinId]) -> None:
    (answer,) = asked(minimum, [ball])
    assert answer == (set(ball) if len(ball) >= minimum else set())


@given(MINIMUM, BALLS, st.frozensets(st.sampled_from(TWINS)))
def test_the_same_question_right_away_gets_the_same_answer(
    minimum: int, balls: list[frozenset[TwinId]], ball: frozenset[TwinId]
) -> None:
    *_, first, second = asked(minimum, [*balls, ball, ball])
    assert first == second


@given(MINIMUM, BALLS)
def test_rounding_moves_fewer_than_the_minimum_of_each_group(minimum: int, balls: list[frozenset[TwinId]]) -> None:
    """Against the truth an answer gains or lacks, in each group, fewer than ``minimum``; new matches too."""
    answers = asked(minimum, balls)
    for number, (ball, answer) in enumerate(zip(balls, answers, strict=True)):
        before = cells(answers[:number]) if number else []
        known = set[str]().union(*before) if before else set[str]()
        if len(ball) < minimum:
            assert not answer
            continue
        assert all(len((set(ball) ^ answer) & cell) < max(minimum, 1) or minimum == 1 for cell in before)
        assert len((set(ball) ^ answer) - known) < max(minimum, 1) or minimum == 1


@given(BALLS)
def test_with_a_minimum_of_one_everything_is_exact(balls: list[frozenset[TwinId]]) -> None:
    assert asked(1, balls) == [set(ball) for ball in balls]


@given(MINIMUM, st.frozensets(st.sampled_from(TWINS), min_size=6), st.frozensets(st.sampled_from(TWINS), max_size=4))
def test_sentences_and_counts_depend_on_nobody_who_is_not_told(
    minimum: int, ball: frozenset[TwinId], refusing: frozenset[TwinId]
) -> None:
    policy = MinimumCount(minimum, lambda vendor, twin: twin)
    willing = ball - refusing
    with_refusers, without = (
        policy.release(
            [Match(twin, 0) for twin in sorted(group)], vendor="v", epoch=1, releasable=willing, told=frozenset()
        )
        for group in (ball, willing)
    )
    assert with_refusers == without
