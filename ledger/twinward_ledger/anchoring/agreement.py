"""What hospitals whose keys are here sign for the contracts: changes that a quorum agrees to, and their own budgets.

A hospital's key is its witness's BLS key. Messages begin with a domain tag of their own (``twinward/change/v1``,
``twinward/budget/v1``), so that no signature for an anchor is one for a change, nor the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twinward_contracts.bindings import Call, HospitalSignature, QuorumSignature, Sign, WitnessSet, name_id
from twinward_crypto import bls
from twinward_ledger.errors import QuorumNotReached
from twinward_ledger.witness.witness import WitnessKeys


def sign_as(keys: Mapping[str, WitnessKeys]) -> Sign:
    """A ``Sign`` for the hospitals whose keys these are, by name.

    It raises ``QuorumNotReached`` where a hospital is to sign whose key is not among them.
    """
    secrets = {name_id(name): one.bls_secret_key for name, one in keys.items()}

    def sign(hospital_ids: Sequence[bytes], message: bytes) -> HospitalSignature:
        held = [secrets[one] for one in hospital_ids if one in secrets]
        if not held or len(held) < len(hospital_ids):
            raise QuorumNotReached(len(held), len(hospital_ids))
        return HospitalSignature(_points(held), _sum(held, message))

    return sign


def agree(witnesses: WitnessSet, call: Call, keys: Sequence[WitnessKeys]) -> None:
    """Have a change made at once, by those of these keys that the set counts.

    Raises:
        QuorumNotReached: they are no quorum; nothing was sent.
        ChainError: the chain does not answer, or refuses the change.
    """
    places = {bls.public_key_from_eip2537(one.public_key): one.index for one in witnesses.witnesses() if one.active}
    counted = {places[one.bls_public_key]: one.bls_secret_key for one in keys if one.bls_public_key in places}
    needed = witnesses.quorum()
    if not counted or len(counted) < needed:
        raise QuorumNotReached(len(counted), needed)
    secrets = [counted[place] for place in sorted(counted)]
    aggregate = _sum(secrets, witnesses.agreement(call))
    witnesses.agree(call, QuorumSignature(sum(1 << place for place in counted), _points(secrets), aggregate))


def _points(secrets: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(bls.public_key_to_eip2537(bls.public_key(one)) for one in secrets)


def _sum(secrets: Sequence[bytes], message: bytes) -> bytes:
    return bls.signature_to_eip2537(bls.aggregate([bls.sign(one, message) for one in secrets]))
