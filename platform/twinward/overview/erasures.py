"""What an erasure would take, before anybody orders one: counted without opening a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from twinward.access.interfaces import AccessContext, Permit
from twinward.core.errors import Conflict
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.erasure.proposals import ERASED, ProposedErasure
from twinward.erasure.service import with_derived
from twinward.node import Node
from twinward.vault.errors import CategoryShredded, RecordDamaged
from twinward_ledger.proofs.bundle import ProofBundle


@dataclass(frozen=True, slots=True)
class Extent:
    """What would go.

    Attributes:
        permitted, reason: whether policy would let this officer, and which rule says so; a dry run, nothing is logged.
        records: how many records of each category, with every version of theirs; the largest first.
        kept: how many of the twin's records would stay.
        consents: how many versions of its consent would go.
        in_cohort: whether it may be in the running cohort of encrypted queries, which it would leave.
        keys: how many other twins' keys would be wrapped anew, under ``kek``.
        kek: the version of the key-encryption key that would wrap them.
        retiring: the versions that would be destroyed: backups that need one of them open nothing any more.
    """

    permitted: bool
    reason: str
    records: tuple[tuple[str, int], ...]
    kept: int
    consents: int
    in_cohort: bool
    keys: int
    kek: int
    retiring: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many records would go."""
        return sum(number for _, number in self.records)


def extent(node: Node, context: AccessContext, twin: TwinId, categories: Collection[Category]) -> Extent:
    """What erasing this would take now. For whom a permit was given to look at that twin.

    Raises:
        NotFound: there is no such twin, or it is erased.
        Unavailable: a store or the key service does not answer.
    """
    going = with_derived(frozenset(categories))
    decision = node.access.check(context.request(Action.SHRED, twin, categories))
    counted = _counted(node, twin)
    taken = {one: number for one, number in counted.items() if not going or one in going}
    plan = node.erasures.plan()
    return Extent(
        permitted=decision.permitted,
        reason=decision.reason,
        records=tuple((one.value, number) for one, number in sorted(taken.items(), key=lambda each: -each[1])),
        kept=sum(counted.values()) - sum(taken.values()),
        consents=0 if going else len(node.consents.kept(twin)),
        in_cohort=node.departures.may_stay(twin),
        keys=plan.keys if going else plan.keys - 1,
        kek=plan.kek,
        retiring=plan.retiring,
    )


def _counted(node: Node, twin: TwinId) -> Counter[Category]:
    """A twin's records by category, told by their tags. One whose tag is nobody's is not counted: it opens nowhere."""
    keys = node.keyring.keys(twin)
    found: Counter[Category] = Counter()
    for row in node.store.of_twin(twin):
        try:
            found[keys.category_of(row.category_tag)] += 1
        except (CategoryShredded, RecordDamaged):
            continue
    return found


def receipt(node: Node, permit: Permit, proposal: ProposedErasure) -> ProofBundle:
    """The log's own proof that an erasure is done: signed, cosigned and anchored first where it is not yet.

    Wants a permit to audit that names no twin.

    Raises:
        Conflict: it is not done yet.
        Unavailable: the log cannot be signed now.
    """
    if proposal.state != ERASED or proposal.done_at_index is None:
        raise Conflict("there is no receipt before the erasure is done", hint="look at the page Erasure again later")
    if node.audit.status().signed_size <= proposal.done_at_index:
        node.audit.checkpoint_and_anchor()
    return node.audit_reader.disclose(permit, proposal.done_at_index)
