"""A hospital's part in periods of daily counts, wired: its vault, its study key, its memory of answers, its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial

from twinward.access.interfaces import AccessContext
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.errors import InvitationInvalid
from twinward.federation.invitation import StudyKey
from twinward.federation.ledger_adapters import LedgerReservations
from twinward.node.answers_begin import ReservedSince, begin_of
from twinward.node.home import STUDY_READING_LOCK
from twinward.node.node import Node
from twinward.node.study_approvals import abroad, member, names_here
from twinward.node.study_source import log_room, memory_of
from twinward.outbreak.agreeing import Conditions, ReleaseParts
from twinward.outbreak.agreement import PeriodInvitation, PeriodTerms
from twinward.outbreak.releases import Releases
from twinward.twins.read.cohorts import ConditionReader

_KIND = "outbreak"
"""Of the readings whose number of events the log's growth does not tell (``study_log_room``)."""


@contextmanager
def releases_of(node: Node, name: str, by: AccessContext) -> Iterator[tuple[Releases, AccessContext]]:
    """One hospital's part, and who asks as that hospital knows them.

    Args:
        node: of the home.
        name: that node's own hospital, or a member of its embedded consortium.
        by: who asks.

    Raises:
        BadInput, NotAtWork: as ``member``.
        Unavailable: the chain or a store does not answer.
    """
    with member(node, name) as one:
        place, ledger = memory_of(node.settings, name).absolute(), one.node.consortium.budgets
        begin = begin_of(place.parent, ledger)
        with closing(AnsweredRounds(place)) as memory:
            own = one.node
            signed = LedgerReservations(ledger, name, memory.signed_requests)

            def conditions(detail: tuple[tuple[str, str], ...]) -> Conditions:
                return ConditionReader(own.twins, own.vault, own.access, detail)

            room = log_room(own, memory, place.with_name(STUDY_READING_LOCK))

            def reading(period: str) -> AbstractContextManager[list[int]]:
                # Without a patient there is no key, and a log with accesses beside an empty keyring opens no more.
                return room.reading(_KIND, period) if own.twins.all(most=1) else nullcontext([])

            parts = ReleaseParts(
                one.identity(),
                own.identity.witness_keys(),
                own.outbreak_periods,
                memory,
                ledger,
                ReservedSince(signed, ledger.address, begin),
                own.study_decisions,
                own.access,
                conditions,
                reading,
                partial(own.audit.checkpoint_and_anchor),
                own.clock,
            )
            yield Releases(parts), abroad(by, one, node)


def invited_period(node: Node, content: bytes, by: AccessContext) -> tuple[PeriodInvitation, int]:
    """An invitation to this home's own hospital, before it is approved; what is left of its privacy budget.

    The budget is in millionths of 1/σ². Nothing is kept or logged.

    Raises:
        InvitationInvalid, OutbreakInvalid: it is none, was altered, is not to this hospital under its own key, or keeps
            less than it promises.
        Unavailable: the chain does not answer.
    """
    asked = PeriodInvitation.parse(content)
    asked.terms.require_enough_noise()
    with member(node, node.settings.tenant) as own:
        asked.require_own(own.identity())
    with releases_of(node, node.settings.tenant, by) as (releases, _):
        return asked, releases.budget_left()


def roster_of(node: Node, terms: PeriodTerms, keys: Sequence[StudyKey]) -> dict[str, bytes]:
    """The study keys of a period's hospitals: those in this home are known, the others' are given.

    Raises ``InvitationInvalid`` where two different ones are given of a hospital.
    """
    roster: dict[str, bytes] = {}
    for name in terms.hospitals:
        if name in names_here(node):
            with member(node, name) as one:
                roster[name] = one.identity().public_key
    for key in keys:
        if roster.setdefault(key.hospital, key.public_key) != key.public_key:
            raise InvitationInvalid(f"two different keys of {key.hospital}", hint="ask that hospital which is its own")
    return roster
