"""Whom an auditor believes, as a file, and the check of a proof file against it. Needs no node, no log, no network.

The trust file must reach the auditor some other way than the proof does: whoever could swap both could prove anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinward.audit.errors import EventNotLoggable, ProofRefused
from twinward.audit.events import codec
from twinward.audit.models import AccessEvent
from twinward.core.errors import BadInput
from twinward_crypto.errors import CryptoError
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.key_history import MAX_EARLIER_KEYS, EarlierKey, KeyHistory
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.proofs.access_report import AccessReport
from twinward_ledger.proofs.bundle import ProofBundle
from twinward_ledger.proofs.report_verifier import ReportVerdict, verify_report
from twinward_ledger.proofs.verifier import TrustPolicy, Verdict, verify_bundle


class ReplacedKey(BaseModel):
    """A key that a log signs with no more; ``until`` is the largest size it counts for, and the next key's first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: str
    until: Annotated[int, Field(ge=1, lt=2**63)]


class Trust(BaseModel):
    """Public keys of a log and its witnesses, and where its anchors must be.

    Attributes:
        log: the log's key as ``name+id+base64``, the one in force.
        earlier: the keys it replaced, the oldest first; left out where there are none.
        witnesses: the witnesses' cosigner keys, likewise.
        quorum: how many of them must have signed.
        bls_keys: the witnesses' BLS public keys, 48 bytes in hexadecimal each.
        chain_id, contract: the chain and the 20-byte address of the anchoring contract.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: str
    witnesses: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    quorum: Annotated[int, Field(ge=1, le=64)]
    bls_keys: Annotated[tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{96}$")], ...], Field(max_length=64)] = ()
    chain_id: int | None = None
    contract: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    earlier: Annotated[tuple[ReplacedKey, ...], Field(max_length=MAX_EARLIER_KEYS)] = ()

    @classmethod
    def of(
        cls,
        log: KeyHistory,
        witnesses: Sequence[VerifierKey],
        quorum: int,
        *,
        bls_keys: Sequence[bytes],
        chain_id: int,
        contract: bytes,
    ) -> Self:
        """What a node can tell of itself and its consortium."""
        return cls(
            log=str(log.newest),
            earlier=tuple(ReplacedKey(log=str(one.key), until=one.until) for one in log.earlier),
            witnesses=tuple(map(str, witnesses)),
            quorum=quorum,
            bls_keys=tuple(key.hex() for key in bls_keys),
            chain_id=chain_id,
            contract=contract.hex(),
        )

    def shown(self) -> dict[str, Any]:
        """As a file: what is not there is left out."""
        return self.model_dump(mode="json", exclude_none=True, exclude=None if self.earlier else {"earlier"})

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """A trust file. Raises ``BadInput`` naming the field that is wrong."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise BadInput(
                f"not a trust file: {where}: {first['msg']}", hint="`twinward audit trust` writes one"
            ) from None

    def policy(self, rule: QuorumPolicy | None = None) -> TrustPolicy:
        """The verifier's terms; ``rule`` decides what counts as cosigned instead of the number.

        Raises:
            BadInput: a key is none, or the rule is about another log.
        """
        own = {self.log, *(one.log for one in self.earlier)}
        if rule is not None and own.isdisjoint(str(key) for key, _ in rule.logs):
            raise BadInput("the quorum policy does not list this log", hint="add a log line with its key")
        try:
            policy = TrustPolicy(
                log=VerifierKey.parse(self.log),
                earlier=tuple(EarlierKey(VerifierKey.parse(one.log), one.until) for one in self.earlier),
                witnesses=tuple(map(VerifierKey.parse, self.witnesses)),
                quorum=self.quorum,
                bls_keys=tuple(map(bytes.fromhex, self.bls_keys)),
                chain_id=self.chain_id,
                contract=None if self.contract is None else bytes.fromhex(self.contract),
                rule=rule,
            )
            policy.history  # noqa: B018 - raises where its keys cannot have followed one another
        except CryptoError as error:
            raise BadInput(f"not a trust file: {error}", hint="`twinward audit trust` writes one") from None
        return policy


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof file proves, and the event in it where it was disclosed."""

    verdict: Verdict
    event: AccessEvent | None = field(repr=False)


def check_report(raw: bytes, trust: Trust, rule: QuorumPolicy | None = None) -> ReportVerdict:
    """Check a report of all accesses to a patient from end to end.

    Raises:
        BadInput: not a report at all.
        ProofRefused: it does not prove what it says.
    """
    try:
        report = AccessReport.parse(raw)
    except LedgerError as error:
        raise BadInput(f"not an access report: {error}", hint="`twinward audit export --patient` writes one") from None
    try:
        return verify_report(report, trust.policy(rule))
    except (LedgerError, CryptoError) as error:
        raise ProofRefused(
            f"this report does not hold: {error}", hint="was it made by the log this trust file is of?"
        ) from None


def events_of(verdict: ReportVerdict) -> list[AccessEvent | None]:
    """The events of a report that holds, in its order; None for one that was erased. Raises ``EventNotLoggable``."""
    origin = verdict.checkpoint.origin
    return [None if row.event is None else codec.decode(row.event, origin) for row in verdict.rows]


def check_proof(raw: bytes, trust: Trust, rule: QuorumPolicy | None = None) -> Proven:
    """Check a proof file from end to end.

    Raises:
        BadInput: not a proof file at all.
        ProofRefused: it does not prove what it says.
    """
    try:
        bundle = ProofBundle.parse(raw)
    except LedgerError as error:
        raise BadInput(f"not a proof file: {error}", hint="`twinward audit export` writes one") from None
    policy = trust.policy(rule)
    try:
        verdict = verify_bundle(bundle, policy)
        event = None if verdict.event is None else codec.decode(verdict.event, policy.log.name)
    except (LedgerError, CryptoError, EventNotLoggable) as error:
        raise ProofRefused(
            f"this proof does not hold: {error}", hint="was it made by the log this trust file is of?"
        ) from None
    return Proven(verdict, event)
