"""``twinward study suspects`` and ``quarantine``: who ruins a study's sums, and what an officer decides about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.account import PasswordFileOption
from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.input import confirm
from twinward.cli.output import HomeOption, JsonOption, YesOption, say, show_json, show_table, table
from twinward.cli.study.invitations import CodeFileOption, prove_officer
from twinward.cli.study.protocol import ProtocolArgument, read_protocol
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.federation.study import StudyProtocol
    from twinward.federation.study_journal import Review
    from twinward.federation.suspicion.suspects import Suspicion


def suspects(file: ProtocolArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what a study's groups say of each hospital so far, the most suspect first.

    Of a protocol with group_size, where it is run, from its first round until its model is registered. Scores are in
    standard errors of the noise beyond what honesty allows; whoever is above the threshold is suspect, and no model is
    made before an officer looked at it (`twinward study quarantine`). Nothing is asked of anybody: it reads sums that
    were released and paid for.

    Exit codes: 0, 2 not a protocol, 3 not under way here, 7 the journal cannot be read.

    Examples: twinward study suspects sepsis-1.toml
    · twinward study suspects sepsis-1.toml --json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.study_suspects import standing_of_hospitals

        study = read_protocol(file)
        standing = standing_of_hospitals(node, study)
        if as_json:
            found = [_suspicion_json(one) for one in standing.found]
            reviews = [_review_json(one) for one in standing.reviews.values()]
            show_json({"study": study.study_id, "rounds": standing.rounds, "hospitals": found, "reviews": reviews})
            return
        _show(study, standing.found, standing.reviews)
        say(f"{standing.rounds} of {study.rounds} rounds are learnt")


def quarantine(
    file: ProtocolArgument,
    hospital: Annotated[str, typer.Argument(help="Which of the study's hospitals.")],
    account: AsOption,
    reason: Annotated[str, typer.Option(help="Why, in a sentence; it is in the log and in the journal.")],
    clear: Annotated[
        bool, typer.Option("--clear", help="It was looked at and stays: its suspicion is settled.")
    ] = False,
    password_file: PasswordFileOption = None,
    code_file: CodeFileOption = None,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave a hospital out of a study as the coordinating hospital's officer, or with --clear let it stay.

    It holds from the next round on: the hospital is asked no more. A dp-var or logistic-warning study in groups goes
    on, and its model is made of the sums that the hospital is in none of: nothing more is charged. Any other study ends
    with its name, for what its gradients moved cannot be moved back. The decision is an event in the log; a later one
    about the same hospital takes its place, until the model is registered.

    Exit codes: 0, 1 you said no, 2 not a protocol, no hospital of it, or no reason, 3 not under way here, or no such
    account, 5 a wrong password or code, 6 no officer's account, 7 the log or the journal cannot be written.

    Examples: twinward study quarantine sepsis-1.toml northgate --as olga --reason "30 times its share of noise"
    · twinward study quarantine sepsis-1.toml northgate --as olga --clear --reason "a hospice: its patients differ"
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.study_suspects import decide

        study = read_protocol(file)
        by = context_of(node, account, Purpose.COMPLIANCE)
        prove_officer(node, account, password_file, code_file)
        word = "Let" if clear else "Leave"
        confirm(f"{word} {hospital} {'stay in' if clear else 'out of'} {study.study_id}?", yes=yes)
        review = decide(node, study, hospital, by, reason, quarantined=not clear)
        if as_json:
            show_json({"study": study.study_id} | _review_json(review))
            return
        done = "stays in" if clear else "is left out of"
        say(f"{hospital} {done} {study.study_id}, by {account}: {review.reason}")
        say(f"next: twinward study run {_quoted(file)} --as RESEARCHER")


def _show(study: StudyProtocol, found: list[Suspicion], reviews: dict[str, Review]) -> None:
    from twinward.federation.suspicion.suspects import WORDS

    if not study.group_size:
        say("this protocol has no groups (group_size = 0): its sums tell nobody apart")
    shown = table("hospital", "score", "threshold", "noise, in shares", "suspect", "decided")
    for one in found:
        grounds = "; ".join(WORDS[ground] for ground in one.grounds) if one.is_suspect else "no"
        score = f"{one.score:.1f}" if one.known else "not told apart yet"
        noise = f"{one.noise:.2f}" if one.noise_known else "not told yet"
        review = reviews.get(one.hospital)
        shown.add_row(one.hospital, score, f"{one.threshold:.1f}", noise, grounds, review.reason if review else "")
    for review in reviews.values():
        if review.quarantined:
            shown.add_row(review.hospital, "", "", "", "quarantined", review.reason)
    show_table(shown)


def _suspicion_json(one: Suspicion) -> dict[str, Any]:
    return {
        "hospital": one.hospital,
        "suspect": one.is_suspect,
        "score": one.score if one.known else None,
        "threshold": one.threshold,
        "noise_shares": one.noise if one.noise_known else None,
        "grounds": [ground.value for ground in one.grounds] if one.known else [],
        "scores": {ground.value: score for ground, score in one.scores.items()} if one.known else {},
    }


def _review_json(one: Review) -> dict[str, Any]:
    return {
        "hospital": one.hospital,
        "quarantined": one.quarantined,
        "officer": one.officer,
        "reason": one.reason,
        "at_ms": one.at_ms,
    }


def _quoted(file: Path) -> str:
    import shlex

    return shlex.quote(str(file))
