"""The suite every key provider passes. A provider's test subclasses it and gives the ``provider`` fixture."""

# ruff: noqa: S101 - pytest tests that ship with the package
from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable

import pytest

from twinward_crypto.errors import CryptoError, KeyDestroyed, KeyNotFound, MalformedKey, OpenError
from twinward_crypto.keys import KekId, KeyProvider, TenantId, WrappedKey

ANNA = TenantId("st-anna")
BERN = TenantId("bern")
FIRST, SECOND = KekId(ANNA, 1), KekId(ANNA, 2)
TWIN_KEY = bytes(range(32))
CONTEXT = b"st-anna/twin-1/generation-1"


class KeyProviderConformance:
    """What ``keys.KeyProvider`` promises, as tests."""

    @pytest.fixture
    def provider(self) -> KeyProvider:
        """An empty key service; subclasses give it."""
        raise NotImplementedError

    @pytest.fixture
    def ready(self, provider: KeyProvider) -> KeyProvider:
        """The same service with two versions of one tenant's KEK and one of another's."""
        for key in (FIRST, SECOND, KekId(BERN, 1)):
            provider.create(key)
        return provider

    def test_wrapping_round_trips_and_hides_the_key(self, ready: KeyProvider) -> None:
        """What is wrapped unwraps, is not visible, and differs each time."""
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        assert ready.unwrap(FIRST, wrapped, CONTEXT) == TWIN_KEY
        assert TWIN_KEY not in wrapped
        assert ready.wrap(FIRST, TWIN_KEY, CONTEXT) != wrapped

    @pytest.mark.parametrize("context", [b"", CONTEXT + b"x", CONTEXT[:-1], b"st-anna/twin-2/generation-1"])
    def test_another_context_does_not_unwrap(self, ready: KeyProvider, context: bytes) -> None:
        """A wrapped key is bound to its place."""
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        with pytest.raises(OpenError):
            ready.unwrap(FIRST, wrapped, context)

    @pytest.mark.parametrize("other", [SECOND, KekId(BERN, 1)])
    def test_another_kek_does_not_unwrap(self, ready: KeyProvider, other: KekId) -> None:
        """Neither another version nor another tenant opens it."""
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        with pytest.raises(OpenError):
            ready.unwrap(other, wrapped, CONTEXT)

    def test_altered_bytes_do_not_unwrap(self, ready: KeyProvider) -> None:
        """Every byte counts, and so does the length."""
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        for index in range(len(wrapped)):
            altered = wrapped[:index] + bytes((wrapped[index] ^ 1,)) + wrapped[index + 1 :]
            with pytest.raises(OpenError):
                ready.unwrap(FIRST, altered, CONTEXT)
        for altered in (b"", wrapped[:-1], wrapped + b"\x00"):
            with pytest.raises(OpenError):
                ready.unwrap(FIRST, altered, CONTEXT)

    def test_rewrapping_moves_to_the_target_only(self, ready: KeyProvider) -> None:
        """After a rewrap the target opens it and the source does not."""
        moved = ready.rewrap(FIRST, SECOND, ready.wrap(FIRST, TWIN_KEY, CONTEXT), CONTEXT)
        assert ready.unwrap(SECOND, moved, CONTEXT) == TWIN_KEY
        with pytest.raises(OpenError):
            ready.unwrap(FIRST, moved, CONTEXT)

    def test_rewrapping_needs_the_right_context(self, ready: KeyProvider) -> None:
        """A rewrap cannot be used to change a key's place."""
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        with pytest.raises(OpenError):
            ready.rewrap(FIRST, SECOND, wrapped, CONTEXT + b"x")

    def test_many_are_rewrapped_in_their_order(self, ready: KeyProvider) -> None:
        """As one by one; one bad wrap among them gives none."""
        contexts = [CONTEXT + bytes((number,)) for number in range(5)]
        keys = [bytes((number,)) * 32 for number in range(5)]
        wrapped = [
            WrappedKey(ready.wrap(FIRST, key, context), context) for key, context in zip(keys, contexts, strict=True)
        ]
        moved = ready.rewrap_many(FIRST, SECOND, wrapped)
        assert [ready.unwrap(SECOND, one, context) for one, context in zip(moved, contexts, strict=True)] == keys
        assert ready.rewrap_many(FIRST, SECOND, []) == []
        with pytest.raises(OpenError):
            ready.rewrap_many(FIRST, SECOND, [*wrapped, WrappedKey(wrapped[0].wrapped, contexts[1])])

    def test_versions_are_listed_in_order(self, provider: KeyProvider) -> None:
        """Live versions only, ascending; nothing for a tenant without keys."""
        assert provider.versions(ANNA) == ()
        for version in (3, 1, 2):
            provider.create(KekId(ANNA, version))
        provider.destroy(SECOND)
        assert provider.versions(ANNA) == (1, 3)
        assert provider.versions(BERN) == ()

    def test_making_a_kek_twice_is_harmless(self, ready: KeyProvider) -> None:
        """The second ``create`` does not replace the key."""
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        ready.create(FIRST)
        assert ready.unwrap(FIRST, wrapped, CONTEXT) == TWIN_KEY

    def test_a_destroyed_kek_is_gone_for_good(self, ready: KeyProvider) -> None:
        """Every use says so, making it again is refused, destroying it again is harmless, others live on."""
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        kept = ready.wrap(SECOND, TWIN_KEY, CONTEXT)
        ready.destroy(FIRST)
        ready.destroy(FIRST)
        with pytest.raises(KeyDestroyed):
            ready.unwrap(FIRST, wrapped, CONTEXT)
        with pytest.raises(KeyDestroyed):
            ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        with pytest.raises(KeyDestroyed):
            ready.rewrap(FIRST, SECOND, wrapped, CONTEXT)
        with pytest.raises(KeyDestroyed):
            ready.rewrap_many(FIRST, SECOND, [WrappedKey(wrapped, CONTEXT)])
        with pytest.raises(KeyDestroyed):
            ready.create(FIRST)
        assert ready.unwrap(SECOND, kept, CONTEXT) == TWIN_KEY

    def test_unknown_keys_are_named(self, ready: KeyProvider) -> None:
        """A version or tenant that never was raises ``KeyNotFound``."""
        for unknown in (KekId(ANNA, 9), KekId(TenantId("nowhere"), 1)):
            with pytest.raises(KeyNotFound, match=unknown.tenant):
                ready.wrap(unknown, TWIN_KEY, CONTEXT)
            with pytest.raises(KeyNotFound):
                ready.unwrap(unknown, bytes(112), CONTEXT)
            with pytest.raises(KeyNotFound):
                ready.destroy(unknown)
        with pytest.raises(KeyNotFound):
            ready.mac(TenantId("nowhere"), b"label", b"message")

    @pytest.mark.parametrize("key", [KekId(ANNA, 0), KekId(ANNA, -1), KekId(TenantId(""), 1)])
    def test_impossible_keys_are_refused(self, provider: KeyProvider, key: KekId) -> None:
        """Versions start at 1 and a tenant has a name."""
        with pytest.raises(KeyNotFound):
            provider.create(key)

    @pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
    def test_only_keys_of_32_bytes_are_wrapped(self, ready: KeyProvider, key: bytes) -> None:
        """Anything else is refused before it is sent anywhere."""
        with pytest.raises(MalformedKey):
            ready.wrap(FIRST, key, CONTEXT)

    def test_mac_is_stable_over_rotation_and_destruction(self, ready: KeyProvider) -> None:
        """Blind indexes survive every change of KEK."""
        before = ready.mac(ANNA, b"label", b"message")
        ready.create(KekId(ANNA, 3))
        ready.destroy(FIRST)
        assert ready.mac(ANNA, b"label", b"message") == before
        assert len(before) == 32

    def test_mac_separates_tenants_labels_and_messages(self, ready: KeyProvider) -> None:
        """No two of these share a value, nor can a boundary between label and message be moved."""
        values = {
            ready.mac(ANNA, b"label", b"message"),
            ready.mac(BERN, b"label", b"message"),
            ready.mac(ANNA, b"labe", b"lmessage"),
            ready.mac(ANNA, b"label\x00", b"message"),
            ready.mac(ANNA, b"label", b"\x00message"),
            ready.mac(ANNA, b"label", b""),
        }
        assert len(values) == 6

    def test_keys_do_not_show(self, ready: KeyProvider) -> None:
        """Neither the representation nor a pickle gives a key away; the URI is nameable."""
        assert ":" in ready.uri
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        assert wrapped.hex() not in repr(ready) + repr(WrappedKey(wrapped, CONTEXT))
        with pytest.raises(TypeError):
            pickle.dumps(ready)

    def test_closing_twice_is_harmless(self, provider: KeyProvider) -> None:
        """A node that failed half-way through opening closes what it has."""
        provider.close()
        provider.close()

    def test_an_error_carries_no_key(self, ready: KeyProvider) -> None:
        """Neither its text nor its causes; they are what ends up in logs."""
        wrapped = ready.wrap(FIRST, TWIN_KEY, CONTEXT)
        failing: list[Callable[[], bytes]] = [
            lambda: ready.unwrap(SECOND, wrapped, CONTEXT),
            lambda: ready.rewrap(FIRST, KekId(ANNA, 9), wrapped, CONTEXT),
            lambda: ready.wrap(FIRST, TWIN_KEY * 2, CONTEXT),
        ]
        for attempt in failing:
            with pytest.raises(CryptoError) as caught:
                attempt()
            told = "".join(traceback.format_exception(caught.value))
            for secret in (TWIN_KEY, wrapped):
                assert secret.hex() not in told
                assert repr(secret)[2:-1] not in told
