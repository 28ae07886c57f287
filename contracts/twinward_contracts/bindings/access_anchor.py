"""``AccessAnchor``: where a log's checkpoints are anchored, and the exact bytes that witnesses sign for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.signatures import QuorumSignature
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor
from twinward_contracts.bindings.words import address_word, message, tag, word

_ARTEFACT: Final = load("AccessAnchor")

DOMAIN: Final = tag("twinward/access-anchor/v1")
MAX_AHEAD_S: Final = 15 * 60
"""How far a checkpoint's time may run ahead of the chain's."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last checkpoint anchored of a log. ``time_s`` is Unix seconds, ``root`` 32 bytes."""

    root: bytes
    size: int
    time_s: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Anchored:
    """One anchoring that happened; bit i of ``bitmap`` is set where witness i signed."""

    root: bytes
    size: int
    time_s: int
    epoch: int
    bitmap: int


def cosigned_message(
    *, chain_id: int, contract: str, log_id: bytes, epoch: int, size: int, root: bytes, time_s: int
) -> bytes:
    """The 256 bytes that witnesses sign: eight big-endian words of 32 bytes.

    domain tag, chain id, contract address (right-aligned), log id, epoch, size, root, time (Unix seconds). Equal to
    ``abi.encode`` of them in ``AccessAnchor._message``; a witness builds them itself and never signs bytes it was sent.
    """
    return message(DOMAIN, word(chain_id), address_word(contract), log_id, word(epoch), word(size), root, word(time_s))


class AccessAnchor:
    """The contract at one address."""

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, witness_set: str) -> Self:
        """Create the contract over the ``WitnessSet`` at an address."""
        return cls(client, client.deploy(_ARTEFACT, witness_set))

    def anchor(
        self,
        log_id: bytes,
        size: int,
        root: bytes,
        time_s: int,
        consistency: Sequence[bytes],
        quorum: QuorumSignature,
    ) -> TransactionReceipt:
        """Anchor a checkpoint.

        Args:
            log_id: 32 bytes.
            size: leaves of the log, more than anchored.
            root: RFC 6962 root, 32 bytes.
            time_s: when it was signed, Unix seconds; not before the anchored one's, at most ``MAX_AHEAD_S`` ahead.
            consistency: RFC 6962 proof from the anchored size, 32 bytes a node; empty for the first checkpoint.
            quorum: the witnesses' signature.

        Refused with ``NotAppended``, ``TimeWentBack``, ``TimeAhead``, ``InconsistentTree``, ``UnexpectedProof``,
        ``QuorumUnset``, ``QuorumNotReached``, ``UnknownWitness``, ``KeyMismatch``, ``KeyCountMismatch``,
        ``InvalidQuorumSignature`` (also for another chain, contract, log or epoch) or ``PrecompileFailed``.
        """
        return self._client.transact(
            self.address,
            _ARTEFACT,
            "anchor",
            log_id,
            size,
            root,
            time_s,
            list(consistency),
            quorum.bitmap,
            list(quorum.public_keys),
            quorum.aggregate,
        )

    def latest(self, log_id: bytes) -> Head | None:
        """The last checkpoint anchored; None for a log never anchored."""
        root, size, time_s, epoch = self._client.call(self.address, _ARTEFACT, "latest", log_id)
        return Head(root=root, size=size, time_s=time_s, epoch=epoch) if size else None

    def history(self, log_id: bytes, *, from_block: int = 0) -> list[Anchored]:
        """Every anchoring of a log, oldest first."""
        return [
            Anchored(
                root=bytes(event["root"]),
                size=int(event["size"]),
                time_s=int(event["time"]),
                epoch=int(event["epoch"]),
                bitmap=int(event["bitmap"]),
            )
            for event in self._client.events(self.address, _ARTEFACT, "Anchored", from_block=from_block)
            if event["logId"] == log_id
        ]

    def cosigned_message(self, log_id: bytes, size: int, root: bytes, time_s: int) -> bytes:
        """What witnesses sign now, as the contract itself says it."""
        return bytes(self._client.call(self.address, _ARTEFACT, "cosignedMessage", log_id, size, root, time_s))

    def witness_set(self) -> str:
        """The address of the ``WitnessSet`` it trusts."""
        return str(self._client.call(self.address, _ARTEFACT, "witnesses"))
