"""The composition root: the only place that picks backends and wires domains together.

A node's home holds, on the embedded defaults:

======================  ========================================================================
``twinward.toml``       settings
``keys/``               the local key service (its KEKs are encrypted under a key file or passphrase)
``keyring.db``          wrapped twin keys; apart from the records, so that shredding is deleting here
``vault.db``            sealed records
``log.db``              the access log: leaves, tree, sealed event bodies, checkpoints
``anchors.db``          what was anchored, and what was on its way
``witness.db``          what this hospital's own witness has co-signed
``consents.db``         sealed consents
``accounts.db``         accounts: names, stretched passwords, hashed tokens
``chain.db``            the embedded chain
``consortium.json``     where the contracts are
``cohort.sealed``       the running epoch's similarity secrets, sealed
``peers/<name>/``       the other hospitals of an embedded consortium, each with keys and a witness of its own
======================  ========================================================================
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from twinward.access.accounts import Accounts
from twinward.access.capability import PermitAuthority
from twinward.access.consent import ConsentStore
from twinward.access.interfaces import Permit, Principal
from twinward.access.policy import Policy
from twinward.access.service import Access
from twinward.audit.reader import AuditReader
from twinward.audit.service import Audit
from twinward.client.messages import Mode
from twinward.clock import Clock, SystemClock
from twinward.config import FILE_NAME, Settings, origin_of
from twinward.consortium import Consortium
from twinward.errors import BadInput, Conflict, NotFound, TwinwardError, Unavailable
from twinward.feature_schema import CARDIOMETABOLIC
from twinward.identity import Identity
from twinward.similarity.budget import LedgerBudget
from twinward.similarity.cohort_secrets import CohortSecrets
from twinward.similarity.offer import Offer
from twinward.similarity.service import Similarity, gated_plan_of
from twinward.twins.readers import CohortReader
from twinward.twins.service import Twins
from twinward.vault.database import Schema, open_database
from twinward.vault.keyring import Keyring
from twinward.vault.service import Vault
from twinward.vault.stores import open_record_store
from twinward.vocabulary import Role
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import CryptoError, KeyProviderError, OpenError
from twinward_crypto.keys import KekId, TenantId
from twinward_crypto.providers import open_provider
from twinward_ledger.anchor import Anchorer, ChainAnchor
from twinward_ledger.chains import open_chain
from twinward_ledger.errors import LedgerError
from twinward_ledger.log import Log
from twinward_ledger.note import VerifierKey
from twinward_ledger.stores import open_store
from twinward_ledger.stores.anchor_journal import AnchorJournal
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.witness import Witness

COHORT_FILE = "cohort.sealed"

SYSTEM = Principal("node", Role.SYSTEM, "this node")
"""Who the node's own jobs are: filing what is imported, taking cohort snapshots."""


@dataclass(frozen=True)
class Neighbourhood:
    """What a consortium's members hold in common: the contracts, every log's key, every witness."""

    consortium: Consortium
    witnesses: tuple[Witness, ...]


class Node:
    """One hospital's node, wired. Use ``create_node`` or ``open_node``.

    Args:
        settings: the hospital's own.
        identity: its keys.
        neighbourhood: the consortium it belongs to.
        clock: its time.
    """

    def __init__(self, settings: Settings, identity: Identity, neighbourhood: Neighbourhood, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.identity = identity
        self.consortium = neighbourhood.consortium
        self.witnesses = neighbourhood.witnesses
        home = settings.home
        tenant = identity.tenant
        self._cohort_lock = threading.Lock()
        self._similarity: Similarity | None = None

        self.keyring = Keyring(open_database(settings.keyring_uri, Schema.KEYRING), identity.provider, tenant, clock)
        self.store = open_record_store(settings.records_uri)
        self.log = Log(open_store(settings.log_uri), identity.log_signer(settings.origin))
        anchorer = Anchorer(
            self.log,
            self.witnesses,
            settings.quorum,
            AnchorJournal(home / "anchors.db"),
            clock,
            ChainAnchor(self.consortium.chain, self.consortium.addresses.access_anchor),
        )
        self.audit = Audit(anchorer, self.keyring)
        self.authority = PermitAuthority(clock)
        self.audit_reader: AuditReader[Permit] = AuditReader(self.audit, self.authority)
        self.consents = ConsentStore(home / "consents.db", self.keyring, clock)
        self.policy = Policy.load(settings.policy)
        self.access = Access(self.policy, self.consents, self.audit, self.authority, clock)
        self.accounts = Accounts(home / "accounts.db", clock)
        self.vault = Vault(self.store, self.keyring, self.authority, clock, tenant)
        self.twins = Twins(self.vault, self.store, self.access, clock, CARDIOMETABOLIC)

    def similarity(self) -> Similarity:
        """The running epoch's similarity service; a new epoch takes a new snapshot of consenting twins.

        Raises:
            Unavailable: the chain, which says what epoch it is, does not answer.
        """
        budget = LedgerBudget(self.consortium.budgets)
        epoch = budget.current_epoch()
        with self._cohort_lock:
            if self._similarity is None or self._similarity.cohort.epoch != epoch:
                self._similarity = self._open_cohort(epoch, budget)
            return self._similarity

    def refresh_cohort(self) -> Similarity:
        """Take a new snapshot within the running epoch, under the same secrets: for new patients and new consents."""
        with self._cohort_lock:
            self._similarity = None
        return self.similarity()

    def close(self) -> None:
        """Give back every file, the chain's and the witnesses' too."""
        self.close_own()
        self.consortium.chain.close()
        for witness in self.witnesses:
            witness.close()

    def close_own(self) -> None:
        """Give back this node's own files; what it shares with the consortium stays open."""
        journal = self.audit.anchorer.journal
        for part in (self.accounts, self.consents, self.store, self.keyring, journal, self.log.store):
            part.close()

    def _open_cohort(self, epoch: int, budget: LedgerBudget) -> Similarity:
        offer = Offer(
            modes=tuple(Mode(name) for name in self.settings.modes), minimum_count=self.settings.minimum_count
        )
        secrets = self._sealed_secrets(epoch, offer)
        similarity = Similarity.open(
            CohortReader(self.twins, self.access, SYSTEM),
            hospital=self.settings.hospital,
            schema=self.twins.schema,
            epoch=epoch,
            offer=offer,
            access=self.access,
            budget=budget,
            secrets=secrets,
        )
        if secrets is None:
            sealed = seal(self.identity.sealing_key(), similarity.secrets.dangerously_export(), _cohort_aad(epoch))
            write_private(self.settings.home / COHORT_FILE, sealed)
        return similarity

    def _sealed_secrets(self, epoch: int, offer: Offer) -> CohortSecrets | None:
        """The running epoch's secrets from an earlier process, so that handles stay the same; None to begin anew."""
        path = self.settings.home / COHORT_FILE
        if not path.exists():
            return None
        try:
            opened = open_sealed(self.identity.sealing_key(), path.read_bytes(), _cohort_aad(epoch))
        except OpenError:
            return None  # sealed for another epoch: it is over
        return CohortSecrets.restore(opened, gated_plan_of(self.twins.schema, offer))


def create_node(settings: Settings, *, clock: Clock | None = None) -> Node:
    """Make a new node in an empty or absent home, its keys first, and found its embedded consortium.

    Raises:
        Conflict: there is something in the home already, or in a database that the settings name.
        BadInput: the home is a file, or cannot be made.
        Unavailable: a key service, store or chain does not answer.
    """
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(home.iterdir()):
            raise Conflict(f"{home} is not empty", hint="give another --home; `twinward demo --force` replaces a node")
    except OSError as error:
        raise BadInput(f"{home} cannot be a node's home: {error.strerror}") from None
    try:
        with translated():
            node = _assemble(settings, clock or SystemClock(), found=True)
            _require_new(node)
            write_private(home / FILE_NAME, settings.to_toml().encode())
    except BaseException:
        _empty(home)  # it was empty before, so a home is whole or not there
        raise
    return node


@contextmanager
def open_node(home: Path | None = None, *, clock: Clock | None = None) -> Iterator[Node]:
    """The node in a home, opened and closed again.

    Raises:
        NotFound: there is no node.
        BadInput: its settings are wrong.
        Unavailable: a key service, store or chain does not answer.
    """
    settings = Settings.load(home)
    if not (settings.home / FILE_NAME).is_file():
        hint = "`twinward demo` makes one and fills it, `twinward node init` makes an empty one"
        raise NotFound(f"there is no node in {settings.home}", hint=hint)
    with translated():
        node = _assemble(settings, clock or SystemClock(), found=False)
        try:
            yield node
        finally:
            node.close()


def remove_node(home: Path) -> None:
    """Delete a node's home, if it is one: a folder that is not empty and holds no ``twinward.toml`` is left alone."""
    if not home.exists():
        return
    if any(home.iterdir()) and not (home / FILE_NAME).is_file():
        raise Conflict(f"{home} is not a node's home and is not touched", hint="give another --home")
    shutil.rmtree(home)


def join_as_peer(node: Node, name: str) -> Node:
    """The node of another member of an embedded consortium, on this machine: its own keys, vault and log."""
    home = _home_of(node.settings, name)
    embedded = {"keys": "", "records": "", "keyring": "", "log": ""}  # what those settings name is the node's own
    update = {"home": home, "tenant": name, "hospital": name.title(), **embedded}
    settings = node.settings.model_copy(update=update)
    neighbourhood = Neighbourhood(node.consortium, node.witnesses)
    with translated():
        return Node(settings, _identity(settings, name), neighbourhood, node.clock)


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the layers below, as the platform's own."""
    try:
        yield
    except TwinwardError:
        raise
    except KeyProviderError as error:
        hint = "check TWINWARD_PASSPHRASE_FILE and the permissions of the key file"
        raise Unavailable(f"the key service cannot be used: {error}", hint=hint) from error
    except (CryptoError, LedgerError) as error:
        raise Unavailable(str(error)) from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read: whole or not at all, durable on return."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _empty(folder: Path) -> None:
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()


def _require_new(node: Node) -> None:
    """A new node must not adopt another one's records or log: their keys are not its own."""
    if node.store.count() or node.log.store.size():
        node.close()
        raise Conflict(
            "a database that the settings name holds another node's records or log", hint="give an empty one"
        )


def _assemble(settings: Settings, clock: Clock, *, found: bool) -> Node:
    identities = {name: _identity(settings, name) for name in {*settings.witnesses, settings.tenant}}
    chain = open_chain(
        settings.chain_uri,
        chain_id=settings.chain_id,
        key=_chain_key(settings),
        now_s=lambda: clock.now_ms() // 1000,
    )
    path = settings.home / "consortium.json"
    if found:
        members = {name: identities[name].witness_keys() for name in settings.witnesses}
        consortium = Consortium.found(chain, path, members, settings.quorum)
    else:
        consortium = Consortium.join(chain, path)
    logs = [identity.log_key(origin_of(name)) for name, identity in identities.items()]
    witnesses = tuple(
        _witness(settings, name, identities[name], logs, consortium, clock) for name in settings.witnesses
    )
    return Node(settings, identities[settings.tenant], Neighbourhood(consortium, witnesses), clock)


def _identity(settings: Settings, name: str) -> Identity:
    """A member's keys. On the embedded defaults the other members' lie in ``peers/``, each under a key of its own."""
    if name == settings.tenant:
        provider = open_provider(settings.keys_uri, passphrase=_passphrase(settings))
    else:
        folder = _home_of(settings, name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        provider = open_provider(f"local:{folder / 'keys'}")
    tenant = TenantId(name)
    if not provider.versions(tenant):
        provider.create(KekId(tenant, 1))
    return Identity(provider, tenant)


def _witness(
    settings: Settings,
    name: str,
    identity: Identity,
    logs: Sequence[VerifierKey],
    consortium: Consortium,
    clock: Clock,
) -> Witness:
    return Witness(
        identity.witness_keys(),
        logs,
        WitnessState(_home_of(settings, name) / "witness.db"),
        clock,
        chain_id=consortium.addresses.chain_id,
        contract=bytes.fromhex(consortium.addresses.access_anchor.removeprefix("0x")),
    )


def _home_of(settings: Settings, name: str) -> Path:
    return settings.home if name == settings.tenant else settings.home / "peers" / name


def _passphrase(settings: Settings) -> str | None:
    if settings.passphrase_file is None:
        return None
    return _secret_of(settings.passphrase_file, "the passphrase")


def _chain_key(settings: Settings) -> bytes | None:
    if settings.chain_key_file is None:
        return None
    text = _secret_of(settings.chain_key_file, "the chain account's key")
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise BadInput(f"{settings.chain_key_file} does not hold a key in hexadecimal") from None


def _secret_of(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"{what} cannot be read from {path}") from None


def _cohort_aad(epoch: int) -> bytes:
    return b"twinward/cohort-secrets/1" + epoch.to_bytes(8, "big")
