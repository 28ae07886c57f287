"""A hospital's signing keys, derived inside its key service so that there is no further secret to keep.

``KeyProvider.mac`` is stable over KEK rotation and never shows its key, so a seed derived by it is as safe as the
service and comes back after a restore. The labels below separate the keys and are fixed for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinward_crypto import bls
from twinward_crypto.keys import KeyProvider, TenantId
from twinward_ledger.note import NoteSigner, VerifierKey
from twinward_ledger.witness import WitnessKeys

LOG_SEED = b"twinward/log-signing-key/1"
WITNESS_SEED = b"twinward/witness-ed25519-key/1"
BLS_SEED = b"twinward/witness-bls-key/1"
BACKUP_SEED = b"twinward/backup-signing-key/1"
NODE_SECRETS_SEED = b"twinward/sealing-of-node-secrets/1"


@dataclass(frozen=True)
class Identity:
    """What a hospital signs with: its log, and its witness."""

    provider: KeyProvider
    tenant: TenantId

    def log_signer(self, origin: str) -> NoteSigner:
        """The key that signs the checkpoints of this hospital's log."""
        return NoteSigner(origin, self._seed(LOG_SEED))

    def witness_keys(self) -> WitnessKeys:
        """The keys with which this hospital co-signs other hospitals' logs."""
        signer = NoteSigner(f"twinward.example/{self.tenant}/witness", self._seed(WITNESS_SEED))
        return WitnessKeys(signer, bls.secret_key_from_seed(self._seed(BLS_SEED)))

    def backup_signer(self, origin: str) -> NoteSigner:
        """The key that signs this hospital's backups, and nothing else."""
        return NoteSigner(f"{origin}/backup", self._seed(BACKUP_SEED))

    def sealing_key(self) -> bytes:
        """32 bytes under which the node's own secrets (cohort keys) are sealed in its home."""
        return self._seed(NODE_SECRETS_SEED)

    def log_key(self, origin: str) -> VerifierKey:
        """What this hospital's checkpoints verify with."""
        return self.log_signer(origin).key

    def _seed(self, label: bytes) -> bytes:
        return self.provider.mac(self.tenant, label, b"")
