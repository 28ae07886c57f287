"""The composition root: the only place that picks backends and wires domains together.

A node's home holds, on the embedded defaults:

======================  ========================================================================
``twinward.toml``       settings
``keys/``               the local key service (its KEKs are encrypted under a key file or passphrase)
``keyring.db``          wrapped twin keys; apart from the records, so that shredding is deleting here
``vault.db``            sealed records
``log.db``              the access log: leaves, tree, sealed event bodies, checkpoints
``log.completeness.db`` for each patient how many accesses the log holds of it; made again from the log if lost
``anchors.db``          what was anchored, and what was on its way
``witness.db``          what this hospital's own witness has co-signed
``consents.db``         sealed consents, chained and held against the log
``accounts.db``         accounts: names, stretched passwords, hashed tokens; chained, and held against the log
``policies.db``         versions of the policy and proposed changes, chained and held against the log
``sign_ins.db``         sessions, sealed and found by a hash of their ids alone; what is good for one use and was used
``subscriptions.db``    sealed FHIR subscriptions
``saved_filters.db``    officers' saved filters of the log, sealed
``live.db``             sealed series of live readings, what is settled of each source, devices' assignments, quarantine
``things.db``           devices, beds, wards, stock: sealed, found by blind tags; relations, what happened to them
``outbreak.db``         periods of daily counts: agreed on, counted, whom; sealed
``chain.db``            the embedded chain
``study-journal.db``    where the studies stand that this node coordinates
``studies.db``          which rounds of which studies this hospital answered: none is answered twice; in no backup
``status.sealed``       what `node status` found last, sealed; shown again until a file of the home changes
``agreed.sealed``       what the contracts said to it last, sealed; said again until the chain's file changes
``studies.begin``       from which reservation on it knows: what was reserved before is refused (ADR 67)
``approvals/``          studies that this hospital's officer approved, each signed by its study key
``consortium.json``     where the contracts are
``cohort.sealed``       the running epoch's similarity secrets, sealed
``cohort-life.sealed``  whether the cohort is frozen, since when and with whom, sealed
``releases.sealed``     what each vendor was ever told, sealed: no answer may tell fewer apart
``answers/<epoch>/``    what vendors were answered in the running epoch, sealed, to be given again by query id
``peers/<name>/``       the other hospitals of an embedded consortium, each with keys and a witness of its own
======================  ========================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from twinward.access.interfaces import NODE as SYSTEM
    from twinward.node.errors import translated
    from twinward.node.home import remove_node
    from twinward.node.lifecycle import create_node, join_as_peer, open_node
    from twinward.node.node import Node
else:
    _WHERE: Final = {
        "SYSTEM": ("twinward.access.interfaces", "NODE"),
        "Node": ("twinward.node.node", "Node"),
        "create_node": ("twinward.node.lifecycle", "create_node"),
        "join_as_peer": ("twinward.node.lifecycle", "join_as_peer"),
        "open_node": ("twinward.node.lifecycle", "open_node"),
        "remove_node": ("twinward.node.home", "remove_node"),
        "translated": ("twinward.node.errors", "translated"),
    }

    def __getattr__(name: str) -> Any:
        """What is asked for is imported then (PEP 562): who only looks at a home loads no node."""
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, inside = _WHERE[name]
        globals()[name] = found = getattr(import_module(module), inside)
        return found


__all__ = ["SYSTEM", "Node", "create_node", "join_as_peer", "open_node", "remove_node", "translated"]
