"""The keys of a consortium's members as a node holds them, and whether they are the ones its home was made with.

A key service that is empty (a volume that is not mounted, a setting that names another folder, an object gone from a
token) or holds another node's keys must never be worked under: what is sealed then opens under no other, and what the
home holds looks altered. So nothing of a node is opened before its keys were looked at here.
"""

from __future__ import annotations

from pathlib import Path

from twinward.consortium.identity import Identity
from twinward.core.config import Settings
from twinward.core.errors import TwinwardError
from twinward.node.errors import KeysNotOwn
from twinward.node.home import home_of
from twinward.node.key_service import own_keys
from twinward.vault.keys.keyring import newest_kek
from twinward.vault.storage.schemas import KEYRING
from twinward_crypto.errors import InvalidSignature, KeyNotFound
from twinward_crypto.keys import KekId, TenantId
from twinward_crypto.providers import open_provider
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.checkpoint import open_checkpoint
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.storage import open_database
from twinward_ledger.stores import open_store

_SQLITE = "sqlite:"
_HINT = (
    "mount or name the key service that this node was made with (TWINWARD_KEYS, or keys in twinward.toml), or restore "
    "it from its backup; only `twinward node init` makes keys"
)


def make_identity(settings: Settings, name: str) -> Identity:
    """A new member's keys: the only place that makes a first KEK. Raises as ``own_keys``."""
    if name == settings.tenant:
        provider = own_keys(settings, make=True)
    else:
        folder = home_of(settings, name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        provider = open_provider(f"local:{folder / 'keys'}", make=True)
    tenant = TenantId(name)
    if not provider.versions(tenant):
        provider.create(KekId(tenant, 1))
    return Identity(provider, tenant)


def identity_of(settings: Settings, name: str) -> Identity:
    """A member's keys, none of which is made here: a node without its keys must not begin anew under others.

    On the embedded defaults the other members' lie in ``peers/``, each under a key of its own.

    Raises:
        KeysNotOwn: the service holds no key of this member, or its key is another than this home's.
        KeyProviderError: the service refused or failed, or is not there.
    """
    tenant = TenantId(name)
    if name == settings.tenant:
        identity = Identity(own_keys(settings), tenant)
        require_own(identity, settings)
        return identity
    identity = Identity(open_provider(f"local:{home_of(settings, name) / 'keys'}"), tenant)
    require_held(identity)
    return identity


def require_held(identity: Identity, wrapping: str = "") -> None:
    """Raise ``KeysNotOwn`` where the service holds no key of a member; ``wrapping`` says which ones are missed."""
    if not identity.provider.versions(identity.tenant):
        service = identity.provider.uri
        raise KeysNotOwn(f"the key service {service} holds no key of {identity.tenant}{wrapping}", hint=_HINT)


def require_own(identity: Identity, settings: Settings) -> None:
    """Hold a hospital's keys against its home: the service must hold them, and they must sign what signed its log.

    Raises:
        KeysNotOwn: they are gone, or another node's.
        KeyProviderError: the service refused or failed.
        LedgerError: the log does not answer.
    """
    if not identity.provider.versions(identity.tenant):
        require_held(identity, _wrapping(settings))
    try:
        derived = identity.log_key(settings.origin)
    except KeyNotFound:
        raise KeysNotOwn(
            f"the key service {identity.provider.uri} has lost the key from which those of {identity.tenant} that sign "
            "and index are derived",
            hint=_HINT,
        ) from None
    if not (str(derived) == settings.log_key if settings.log_key else _signed(settings, derived)):
        raise KeysNotOwn(
            f"the key service {identity.provider.uri} holds keys of another node: from its key of {identity.tenant} "
            "comes another log key than this home's",
            hint=_HINT,
        )


def _signed(settings: Settings, derived: VerifierKey) -> bool:
    """Whether a log's newest checkpoint is this key's: for homes that were made before they noted their log key."""
    if _is_absent(settings.log_uri):
        return True
    store = open_store(settings.log_uri)
    try:
        changes = store.key_changes()
        note = changes[0].note if changes else store.checkpoint()  # the first change still bears the first key
        if note is not None:
            open_checkpoint(note, derived)
    except InvalidSignature:
        return False
    except LedgerError:
        return True  # what is damaged there is the log's to say, once it is opened
    finally:
        store.close()
    return True


def _wrapping(settings: Settings) -> str:
    """Which KEK is missed, as far as the keyring can be read."""
    if _is_absent(settings.keyring_uri):
        return ""
    try:
        keyring = open_database(settings.keyring_uri, KEYRING)
        try:
            newest = newest_kek(keyring)
        finally:
            keyring.close()
    except TwinwardError:
        return ""
    return "" if newest is None else f": twins' keys here are wrapped under KEK {newest}"


def _is_absent(uri: str) -> bool:
    """Whether a database is a file that is not there: to look must not make it."""
    return uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).exists()
