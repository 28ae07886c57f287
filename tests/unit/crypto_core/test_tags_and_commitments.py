from __future__ import annotations

import hmac
from hashlib import sha256

import pytest

from twinward_crypto import blind_index, commitment
from twinward_crypto.errors import KeyNotFound, MalformedKey, OpenError, ParameterError
from twinward_crypto.keys import KekId, TenantId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider

KEY = bytes(range(32))
ANNA, BERN = TenantId("st-anna"), TenantId("bern")


@pytest.fixture
def provider() -> MemoryKeyProvider:
    provider = MemoryKeyProvider()
    for tenant in (ANNA, BERN):
        provider.create(KekId(tenant, 1))
    return provider


def test_a_tag_is_a_truncated_hmac() -> None:
    assert blind_index.tag(KEY, b"Patient/123") == hmac.new(KEY, b"Patient/123", sha256).digest()[:16]
    with pytest.raises(MalformedKey):
        blind_index.tag(b"short", b"")


def test_an_index_is_one_tenants_one_parameters_one_epochs(provider: MemoryKeyProvider) -> None:
    keys = {
        blind_index.index_key(provider, tenant, parameter, epoch)
        for tenant in (ANNA, BERN)
        for parameter in ("identifier", "name")
        for epoch in (0, 1)
    }
    assert len(keys) == 8
    assert blind_index.index_key(provider, ANNA, "name", 1) in keys
    with pytest.raises(KeyNotFound):
        blind_index.index_key(provider, TenantId("nowhere"), "name")


def test_compound_values_do_not_run_into_one_another() -> None:
    compounds = {blind_index.compound(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ())}
    assert len(compounds) == 5


def test_a_commitment_opens_to_its_message_only() -> None:
    salt = commitment.new_salt()
    made = commitment.commit(KEY, b"event", salt, domain=b"leaf")
    commitment.open_commitment(KEY, b"event", salt, made, domain=b"leaf")
    wrong = [
        (bytes(32), b"event", salt, made, b"leaf"),
        (KEY, b"Event", salt, made, b"leaf"),
        (KEY, b"event", commitment.new_salt(), made, b"leaf"),
        (KEY, b"event", salt[:-1], made, b"leaf"),
        (KEY, b"event", salt, made[:-1], b"leaf"),
        (KEY, b"event", salt, bytes(32), b"leaf"),
        (KEY, b"event", salt, made, b"other"),
    ]
    for key, message, with_salt, value, domain in wrong:
        with pytest.raises(OpenError):
            commitment.open_commitment(key, message, with_salt, value, domain=domain)


def test_a_commitment_is_what_the_specification_says() -> None:
    salt = bytes(range(32))
    message = b"".join(
        len(part).to_bytes(4, "big") + part for part in (b"twinward/commitment/1", b"leaf", salt, b"event")
    )
    assert commitment.commit(KEY, b"event", salt, domain=b"leaf") == hmac.new(KEY, message, sha256).digest()


def test_parts_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(MalformedKey):
        commitment.commit(bytes(16), b"", bytes(32), domain=b"")
    with pytest.raises(ParameterError, match="salt"):
        commitment.commit(KEY, b"", bytes(16), domain=b"")
    assert commitment.new_salt(lambda length: bytes(length)) == bytes(32)
