"""The members of a consortium as a node holds them: their keys, their witnesses, and the secrets that open those."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twinward.consortium.identity import Identity
from twinward.consortium.membership import Consortium
from twinward.core.clock import Clock
from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.core.secret_files import secret_in
from twinward.node.homes import home_of
from twinward.node.key_guard import require_held, require_own
from twinward_crypto.keys import KekId, KeyProvider, TenantId
from twinward_crypto.providers import open_provider
from twinward_ledger.errors import MalformedPolicy
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.formats.policy import MAX_POLICY_BYTES, QuorumPolicy
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.witness.client import HttpWitness
from twinward_ledger.witness.witness import Witness


def own_keys(settings: Settings, *, make: bool = False, key_file: Path | None = None) -> KeyProvider:
    """The hospital's key service, opened. ``make`` a local one that is not there yet: for a new node only.

    A local one's key file lies beside it unless ``key_file`` says where.

    Raises:
        BadInput: the passphrase cannot be read.
        KeyProviderError: the service refused or failed, or is not there.
    """
    return open_provider(settings.keys_uri, passphrase=_passphrase(settings), make=make, key_file=key_file)


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


def policy_of(settings: Settings) -> QuorumPolicy | None:
    """The quorum policy that the settings name. Raises ``BadInput`` naming the line that is wrong."""
    if settings.quorum_policy is None:
        return None
    path = settings.home / settings.quorum_policy
    try:
        with path.open("rb") as file:
            policy = QuorumPolicy.parse(file.read(MAX_POLICY_BYTES + 1))
    except (OSError, MalformedPolicy) as error:
        raise BadInput(f"{path} is no quorum policy: {error}", hint="see c2sp.org/tlog-policy") from None
    if not any(one.url for one in policy.witnesses):
        raise BadInput(f"{path} names no witness's URL", hint="write it behind the witness's key")
    return policy


def witnesses_at(policy: QuorumPolicy, log: VerifierKey, timeout_s: float) -> tuple[HttpWitness, ...]:
    """The witnesses of a policy that have a URL, as one log asks them. Raises ``BadInput`` if they are no quorum."""
    if policy.logs and log not in {key for key, _ in policy.logs}:
        raise BadInput(f"the quorum policy lists other logs than {log}", hint="add a log line with this key")
    asked = [one for one in policy.witnesses if one.url]
    if not policy.satisfied_by([one.key for one in asked]):
        raise BadInput("the witnesses with a URL are no quorum of the policy", hint="write the others' URLs, too")
    return tuple(HttpWitness(one.key, one.url, log, timeout_s=timeout_s) for one in asked)


def chain_key_of(settings: Settings) -> bytes | None:
    """The secret key of the hospital's chain account. Raises ``BadInput``: it cannot be had from its file."""
    if settings.chain_key_file is None:
        return None
    text = secret_in(settings.chain_key_file, "the chain account's key")
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise BadInput(f"{settings.chain_key_file} does not hold a key in hexadecimal") from None


def _passphrase(settings: Settings) -> str | None:
    if settings.passphrase_file is None:
        return None
    return secret_in(settings.passphrase_file, "the passphrase")
