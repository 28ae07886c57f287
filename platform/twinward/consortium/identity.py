"""A hospital's signing keys, derived inside its key service so that there is no further secret to keep.

``KeyProvider.mac`` is stable over KEK rotation and never shows its key, so a seed derived by it is as safe as the
service and comes back after a restore. The labels below separate the keys and are fixed for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from twinward.protocol.proofs import AnswerSigner
from twinward_crypto import bls
from twinward_crypto.keys import KeyProvider, TenantId
from twinward_ledger.formats.note import NoteSigner, VerifierKey
from twinward_ledger.witness.witness import WitnessKeys

LOG_SEED = b"twinward/log-signing-key/1"
WITNESS_SEED = b"twinward/witness-ed25519-key/1"
BLS_SEED = b"twinward/witness-bls-key/1"
BACKUP_SEED = b"twinward/backup-signing-key/1"
KNOWN_BROWSER_SEED = b"twinward/known-browser-cookies/1"
ANSWER_SEED = b"twinward/answer-signing-key/1"
STUDY_SEED = b"twinward/study-signing-key/1"
NODE_SECRETS_SEED = b"twinward/sealing-of-node-secrets/1"


@dataclass(frozen=True)
class Identity:
    """What a hospital signs with: its log, and its witness."""

    provider: KeyProvider
    tenant: TenantId
    _seeds: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Asked for once: the signing keys made of them are in this process's memory anyway, and a service may be slow."""

    def log_signer(self, origin: str, generation: int = 1) -> NoteSigner:
        """The key that signs the checkpoints of this hospital's log.

        ``generation`` counts from 1. Which one is in force stands in the log; the first stands for the node as long as
        it lives: its settings name it, so that it never works under another node's key service.
        """
        return NoteSigner(origin, self._seed(LOG_SEED, b"" if generation == 1 else generation.to_bytes(4, "big")))

    def witness_keys(self) -> WitnessKeys:
        """The keys with which this hospital co-signs other hospitals' logs."""
        signer = NoteSigner(f"twinward.example/{self.tenant}/witness", self._seed(WITNESS_SEED))
        return WitnessKeys(signer, bls.secret_key_from_seed(self._seed(BLS_SEED)))

    def backup_signer(self, origin: str) -> NoteSigner:
        """The key that signs this hospital's backups, and nothing else."""
        return NoteSigner(f"{origin}/backup", self._seed(BACKUP_SEED))

    def answer_signer(self) -> AnswerSigner:
        """The key that signs what vendors are answered, and nothing else."""
        return AnswerSigner(self._seed(ANSWER_SEED))

    def study_key(self) -> bytes:
        """The secret Ed25519 key that signs what this hospital says in studies: round keys, invitations, approvals."""
        return self._seed(STUDY_SEED)

    def sealing_key(self) -> bytes:
        """32 bytes under which the node's own secrets (cohort keys) are sealed in its home."""
        return self._seed(NODE_SECRETS_SEED)

    def browser_key(self) -> bytes:
        """32 bytes under which the console knows a browser again that has signed in before."""
        return self._seed(KNOWN_BROWSER_SEED)

    def log_key(self, origin: str) -> VerifierKey:
        """What this hospital's first checkpoints verify with, and what names its log wherever keys are not followed."""
        return self.log_signer(origin).key

    def close(self) -> None:
        """Forget what was derived, and end the session with the key service."""
        self._seeds.clear()
        self.provider.close()

    def __reduce__(self) -> str:
        raise TypeError("an identity is not pickled: it holds keys")

    def _seed(self, label: bytes, message: bytes = b"") -> bytes:
        if (label, message) not in self._seeds:
            self._seeds[label, message] = self.provider.mac(self.tenant, label, message)
        return self._seeds[label, message]
