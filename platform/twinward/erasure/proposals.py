"""Erasures that one officer proposed, folded from their events in the order of the log; they are kept nowhere else.

Each step is an event of the action ``shred`` whose detail carries the ``step`` and the proposal's name (``erasure``):

=========  ===========================================================================================================
step       says
=========  ===========================================================================================================
proposed   the categories (none for the whole twin), the purpose, and ``why``
concerns   which twin: the patient's own event, erased with it
withdrawn  who took it back, or turned it down
(none)     the decision by which a second officer approved it: it stands before any key is destroyed
(none)     ``shredded: done``: the deed, as of every erasure (``twinward.erasure.service``)
=========  ===========================================================================================================

A decision without destroyed keys is an approval that a crash cut short: nothing is gone, and the proposal still waits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from twinward.audit.models import AccessEvent, Noted
from twinward.core.vocabulary import Category, Purpose, TwinId
from twinward.erasure.service import DONE, PROPOSAL

WAITING: Final = "waiting"
UNDER_WAY: Final = "under way"
ERASED: Final = "done"
WITHDRAWN: Final = "withdrawn"
MOOT: Final = "moot"


@dataclass(frozen=True, slots=True)
class ProposedErasure:
    """One proposal.

    Attributes:
        name: 16 hexadecimal digits.
        index: of the event that proposed it.
        twin: whose; None where it is not known any more, because it was erased by other means.
        categories: which; none for the whole twin.
        purpose, why, proposed_by, at_ms: the proposal's own.
        interrupted_by: the officer whose approval was cut short before any key was destroyed; empty otherwise.
        approved_by, done_at_index, done_ms: of the deed; empty and None before.
        withdrawn_by: who took it back; empty while nobody did.
        state: ``waiting``, ``under way``, ``done``, ``withdrawn`` or ``moot`` (erased by other means).
    """

    name: str
    index: int
    twin: TwinId | None
    categories: frozenset[Category]
    purpose: Purpose
    why: str
    proposed_by: str
    at_ms: int
    interrupted_by: str = ""
    approved_by: str = ""
    done_at_index: int | None = None
    done_ms: int = 0
    withdrawn_by: str = ""
    state: str = WAITING


class ErasureRegister:
    """All proposals by name. Not safe to share between threads by itself: ``ErasureDesk`` holds a lock."""

    def __init__(self) -> None:
        self.proposals: dict[str, ProposedErasure] = {}

    def note(self, noted: Noted) -> None:
        """Take one event in; what is no step of a proposal is passed over."""
        event, detail = noted.event, dict(noted.event.detail)
        name, step = detail.get(PROPOSAL, ""), detail.get("step", "")
        if event.decision != "permit" or noted.index is None or not name:
            return
        if step == "proposed":
            self.proposals.setdefault(name, _proposed(name, noted.index, event, detail))
            return
        known = self.proposals.get(name)
        if known is not None and known.state not in (ERASED, WITHDRAWN):
            self.proposals[name] = _stepped(known, noted.index, event, step)


def _proposed(name: str, index: int, event: AccessEvent, detail: dict[str, str]) -> ProposedErasure:
    return ProposedErasure(
        name,
        index,
        None,
        frozenset(event.categories),
        event.purpose,
        detail.get("why", ""),
        event.agent,
        event.at_ms,
    )


def _stepped(known: ProposedErasure, index: int, event: AccessEvent, step: str) -> ProposedErasure:
    if step == "concerns":
        return known if known.twin is not None else replace(known, twin=event.twin)
    if step == "withdrawn":
        return replace(known, withdrawn_by=event.agent, state=WITHDRAWN)
    if DONE in event.detail:
        done = replace(known, twin=event.twin, approved_by=event.agent, interrupted_by="", state=ERASED)
        return replace(done, done_at_index=index, done_ms=event.at_ms)
    return replace(known, interrupted_by=event.agent) if not step else known
