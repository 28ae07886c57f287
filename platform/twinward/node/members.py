"""The members of a consortium as a node holds them: their keys, their witnesses, and the secrets that open those."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twinward.clock import Clock
from twinward.config import Settings
from twinward.consortium import Consortium
from twinward.errors import BadInput
from twinward.identity import Identity
from twinward.node.homes import home_of
from twinward_crypto.keys import KekId, TenantId
from twinward_crypto.providers import open_provider
from twinward_ledger.note import VerifierKey
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.witness import Witness


def identity_of(settings: Settings, name: str) -> Identity:
    """A member's keys. On the embedded defaults the other members' lie in ``peers/``, each under a key of its own."""
    if name == settings.tenant:
        provider = open_provider(settings.keys_uri, passphrase=_passphrase(settings))
    else:
        folder = home_of(settings, name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        provider = open_provider(f"local:{folder / 'keys'}")
    tenant = TenantId(name)
    if not provider.versions(tenant):
        provider.create(KekId(tenant, 1))
    return Identity(provider, tenant)


def witness_of(
    settings: Settings,
    name: str,
    identity: Identity,
    logs: Sequence[VerifierKey],
    consortium: Consortium,
    clock: Clock,
) -> Witness:
    """A member's witness, with what it has co-signed."""
    return Witness(
        identity.witness_keys(),
        logs,
        WitnessState(home_of(settings, name) / "witness.db"),
        clock,
        chain_id=consortium.addresses.chain_id,
        contract=bytes.fromhex(consortium.addresses.access_anchor.removeprefix("0x")),
    )


def chain_key_of(settings: Settings) -> bytes | None:
    """The secret key of the hospital's chain account. Raises ``BadInput``: its file does not hold one."""
    if settings.chain_key_file is None:
        return None
    text = _secret_of(settings.chain_key_file, "the chain account's key")
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise BadInput(f"{settings.chain_key_file} does not hold a key in hexadecimal") from None


def _passphrase(settings: Settings) -> str | None:
    if settings.passphrase_file is None:
        return None
    return _secret_of(settings.passphrase_file, "the passphrase")


def _secret_of(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"{what} cannot be read from {path}") from None
