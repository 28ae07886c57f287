"""Whatever is asked, in whatever order: nobody is told apart below the minimum, and first answers are exact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twinward.core.vocabulary import TwinId
from twinward.similarity.models import Groups, Match
from twinward.similarity.release.policy import MinimumCount, present, with_absent

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


def over_epochs(minimum: int, epochs: list[tuple[frozenset[TwinId], list[frozenset[TwinId]]]]) -> list[list[set[str]]]:
    """The answers of each epoch, a cohort and its balls. Twins stand for handles: the vendor recognises everybody."""
    policy = MinimumCount(minimum, lambda vendor, twin: twin)
    ever: Groups = frozenset()
    answers = []
    for cohort, balls in epochs:
        answers.append([])
        for ball in balls:
            matches = [Match(twin, 0) for twin in sorted(ball & cohort)]
            told = present(ever, cohort)
            shown = policy.candidates(matches, told)
            assert shown <= cohort
            release = policy.release(matches, vendor="v", epoch=1, releasable=shown, told=told)
            after = with_absent(ever, release.groups, cohort)
            assert sum(map(len, after)) == len(frozenset[TwinId]().union(*after))
            assert frozenset[TwinId]().union(*ever) <= frozenset[TwinId]().union(*after)
            assert all(any(part <= group for group in ever) for part in after if part & frozenset().union(*ever))
            ever = after
            answers[-1].append(set(release.handles))
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


COHORTS = st.frozensets(st.sampled_from(TWINS), min_size=8)
EPOCHS = st.lists(st.tuples(COHORTS, st.lists(st.frozensets(st.sampled_from(TWINS)), max_size=5)), max_size=5)


@given(MINIMUM, EPOCHS)
def test_in_no_epoch_is_anybody_told_apart_whoever_came_and_went(minimum: int, epochs: list) -> None:
    for answers in over_epochs(minimum, epochs):
        assert all(len(cell) >= minimum for cell in cells(answers))


@given(MINIMUM, EPOCHS, st.lists(st.frozensets(st.sampled_from(TWINS), max_size=4), max_size=5))
def test_while_patients_only_come_no_history_over_all_epochs_is_anybodys_own(
    minimum: int, epochs: list, comers: list[frozenset[TwinId]]
) -> None:
    """Even for a vendor that recognises everybody again under their new handles."""
    cohort, growing = frozenset(TWINS[:8]), []
    for (_, balls), new in zip(epochs, [*comers, *[frozenset[TwinId]()] * 5], strict=False):
        growing.append((cohort, balls))
        cohort |= new
    answers = [answer for epoch in over_epochs(minimum, growing) for answer in epoch]
    assert all(len(cell) >= minimum for cell in cells(answers))


@given(MINIMUM, EPOCHS, st.lists(st.frozensets(st.sampled_from(TWINS), max_size=4), max_size=5))
def test_while_patients_only_leave_whoever_stays_is_told_apart_from_nobody_who_stays(
    minimum: int, epochs: list, leavers: list[frozenset[TwinId]]
) -> None:
    cohort, shrinking = frozenset(TWINS), []
    for (_, balls), gone in zip(epochs, [*leavers, *[frozenset[TwinId]()] * 5], strict=False):
        shrinking.append((cohort, balls))
        cohort -= gone
    last = over_epochs(minimum, shrinking)
    answers = [answer for epoch in last for answer in epoch]
    still_told = set().union(*last[-1]) if last else set()
    assert all(len(cell) >= minimum for cell in cells(answers) if cell & still_told)


@given(st.integers(2, 5), EPOCHS, st.frozensets(st.sampled_from(TWINS)))
def test_one_who_comes_alone_changes_no_answer(minimum: int, epochs: list, ball: frozenset[TwinId]) -> None:
    """Differencing a joiner: the last epoch's answers with and without a patient nobody saw before."""
    joiner = TWINS[0]
    before = [(cohort - {joiner}, balls) for cohort, balls in epochs]
    everybody = frozenset(TWINS[1:])
    told_before = frozenset().union(*[a for epoch in over_epochs(minimum, before) for a in epoch]) if before else set()
    ball = (ball & told_before) | {joiner}  # who is not known yet would be new as well
    if len(ball) <= minimum:
        return
    without, joined = (over_epochs(minimum, [*before, (everybody | new, [ball])])[-1] for new in (set(), {joiner}))
    assert without == joined


@given(st.integers(2, 5), st.frozensets(st.sampled_from(TWINS), min_size=6), st.sampled_from(TWINS))
def test_who_leaves_is_one_of_a_group_or_takes_it_along(minimum: int, ball: frozenset, leaver: TwinId) -> None:
    """Differencing a leaver: the group without it, while it is large enough; then never the group again."""
    first, second = over_epochs(minimum, [(frozenset(TWINS), [ball]), (frozenset(TWINS) - {leaver}, [ball])])
    (before,), (after,) = first, second
    left = before - {leaver}
    assert after == (left if len(left) >= minimum else set())


def test_a_group_that_is_too_small_stays_silent_and_comes_back_whole() -> None:
    group, others = frozenset(TWINS[:3]), frozenset(TWINS[3:9])
    answers = over_epochs(
        3,
        [
            (group | others, [group]),
            (group | others, [group | others]),
            ((group | others) - {TWINS[0]}, [group | others]),
            (group | others, [group]),
        ],
    )
    assert answers == [[set(group)], [set(group | others)], [set(others)], [set(group)]]
