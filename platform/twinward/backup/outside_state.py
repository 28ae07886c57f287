"""What is remembered beside a backup: what others have witnessed of the log, and whom the node has erased since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from twinward.backup.create import rows_of
from twinward.backup.errors import WouldRevive
from twinward.core.config import Settings
from twinward.core.errors import BadInput, TwinwardError
from twinward.node import Node
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.anchoring.contract import ChainAnchor
from twinward_ledger.errors import LedgerError, MalformedCheckpoint
from twinward_ledger.stores.witness_state import WitnessState

_PEERS = "peers"
_ERASED = ("SELECT twin FROM shredded_twin", "SELECT twin, category_tags FROM erasure")


def require_none_revived(present: Settings, restored: Settings) -> None:
    """What the node that is there has erased, the backup must not bring back."""
    revived = _erased_in(present) - _erased_in(restored)
    if revived:
        twins = len({row[0] for row in revived})
        raise WouldRevive(
            f"since this backup {twins} {'twin was' if twins == 1 else 'twins were'} shredded in whole or in part: "
            "its keyring would bring them back",
            hint="restore with --keep-keyring: what was shredded then stays shredded, everything else opens",
        )


def _erased_in(settings: Settings) -> frozenset[tuple[object, ...]]:
    """Whom, and which categories of whom, a node has erased; nothing where its keyring cannot be read any more."""
    found: set[tuple[object, ...]] = set()
    for query in _ERASED:
        try:
            found.update(rows_of(settings.keyring_uri, query))
        except TwinwardError:
            continue  # damaged, or of a version that had no such table
    return frozenset(found)


def witnessed(node: Node, staging: Path, checkpoints: Sequence[bytes]) -> int:
    """The longest this log was ever seen: by witnesses, by the chain, and in checkpoints the operator was given."""
    sizes = [0]
    try:
        for path in [staging / "witness.db", *sorted((staging / _PEERS).glob("*/witness.db"))]:
            if path.is_file():
                sizes.append(_with_state(path, lambda state: (state.newest(node.log.origin) or (0, b""))[0]))
        # Past the guard on purpose: an earlier release's contracts, too, can only make a restore stricter.
        anchor = ChainAnchor(node.consortium.chain.chain, node.consortium.addresses.access_anchor)
        head = anchor.state(node.log.origin).head
        sizes.append(0 if head is None else head.size)
        sizes += [node.log.open(note)[0].size for note in checkpoints]
    except (InvalidSignature, MalformedCheckpoint):
        raise BadInput(
            "a checkpoint that was given is not one of this node's log, or bears a key only that it took up after "
            "this backup",
            hint="restore a backup made after `twinward keys rotate-log`",
        ) from None
    except LedgerError as error:
        raise BadInput(f"what others witnessed cannot be read: {error}", hint="see that the chain answers") from None
    return max(sizes)


def _with_state(path: Path, ask: Callable[[WitnessState], int]) -> int:
    state = WitnessState(path)
    try:
        return ask(state)
    finally:
        state.close()
