"""A shredding's receipt: the log's own event that it is done, proven and disclosed. Checked without a node.

The receipt is a proof file as ``audit export --disclose`` writes it: the event, its inclusion under a checkpoint that
the hospital's log and a quorum of other hospitals' witnesses signed, and the anchor on the chain.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinward.audit.proofs.trust import Trust, check_proof
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.erasure.service import DONE, PROPOSED_BY


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """What a receipt that holds says.

    Attributes:
        twin, categories: what was shredded; no categories for the whole twin.
        agent: for whom; of two officers, who approved.
        proposed_by: who proposed it; empty where one person ordered it.
        index: the event's place in the log.
        cosigned: the witnesses that signed for it.
        block: where it is anchored; None where it was not yet.
    """

    twin: TwinId
    categories: frozenset[Category]
    agent: str
    index: int
    cosigned: tuple[str, ...]
    block: int | None
    proposed_by: str = ""


def check_receipt(raw: bytes, trust: Trust) -> CheckedReceipt:
    """Check a receipt from end to end.

    Raises:
        BadInput: not a proof file, or the proof of something else.
        ProofRefused: it does not prove what it says.
    """
    proven = check_proof(raw, trust)
    event, verdict = proven.event, proven.verdict
    if event is None or event.action is not Action.SHRED or DONE not in event.detail or event.twin is None:
        raise BadInput("this file proves an event, but not that something was shredded")
    return CheckedReceipt(
        twin=event.twin,
        categories=frozenset(event.categories),
        agent=event.agent,
        index=verdict.index,
        cosigned=tuple(name for name, _ in verdict.cosigned),
        block=None if verdict.anchor is None else verdict.anchor.block_number,
        proposed_by=dict(event.detail).get(PROPOSED_BY, ""),
    )
