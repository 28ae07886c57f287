"""A trust file: what is wrong with one is named, and none is believed by half."""

from __future__ import annotations

import json

import pytest

from twinward.audit.errors import ProofRefused
from twinward.audit.proofs.trust import Trust, check_proof, check_report
from twinward.core.errors import BadInput
from twinward_ledger.formats.key_history import KeyHistory
from twinward_ledger.formats.note import NoteSigner

LOG, WITNESS = NoteSigner("log.example", b"l" * 32).key, NoteSigner("w1.example", b"w" * 32).key
TRUST = Trust.of(KeyHistory(LOG), [WITNESS], 1, bls_keys=[b"k" * 48], chain_id=1337, contract=b"c" * 20)


def test_it_reads_back_as_it_was_written() -> None:
    assert Trust.parse(TRUST.model_dump_json().encode()) == TRUST
    policy = TRUST.policy()
    assert (policy.log, policy.witnesses, policy.quorum, policy.contract) == (LOG, (WITNESS,), 1, b"c" * 20)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("witnesses", []),
        ("quorum", 0),
        ("bls_keys", ["00"]),
        ("contract", "zz"),
        ("witnesses", ["w"] * 65),
        ("quorum", 65),
        ("bls_keys", ["0" * 96] * 65),
        ("bls_keys", ["0" * 95]),
        ("contract", "0" * 41),
        ("another", 1),
    ],
)
def test_the_field_that_is_wrong_is_named(field: str, value: object) -> None:
    raw = json.dumps(json.loads(TRUST.model_dump_json()) | {field: value}).encode()
    with pytest.raises(BadInput, match=field):
        Trust.parse(raw)


def test_as_many_witnesses_are_named_as_a_policy_takes() -> None:
    most = {"witnesses": [str(WITNESS)] * 64, "quorum": 64, "bls_keys": ["0" * 96] * 64}
    read = Trust.parse(json.dumps(json.loads(TRUST.model_dump_json()) | most).encode())
    assert (len(read.witnesses), read.quorum, len(read.bls_keys)) == (64, 64, 64)


def test_what_is_no_key_is_no_policy() -> None:
    with pytest.raises(BadInput, match="not a trust file"):
        TRUST.model_copy(update={"log": "log.example+00000000+AA=="}).policy()


@pytest.mark.parametrize("check", [check_proof, check_report])
@pytest.mark.parametrize("raw", [b"", b"{}", b"not a proof"])
def test_what_is_no_proof_at_all_is_bad_input_not_refused(check: object, raw: bytes) -> None:
    assert callable(check)
    with pytest.raises(BadInput) as found:
        check(raw, TRUST)
    assert not isinstance(found.value, ProofRefused)
