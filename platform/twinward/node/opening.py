"""Making a node, opening the one in a home, and joining an embedded consortium."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from twinward.consortium.identity import Identity
from twinward.consortium.membership import Consortium, WitnessCard, founder_of
from twinward.core.clock import Clock, SystemClock
from twinward.core.config import CONSORTIUM_FILE, FILE_NAME, POLICY_FILE, Settings, origin_of
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.restored_home import RestoredHome
from twinward.node.errors import translated
from twinward.node.homes import empty, home_of, tighten, write_private
from twinward.node.members import chain_key_of, identity_of, make_identity, policy_of, witness_of, witnesses_at
from twinward.node.node import Neighbourhood, Node
from twinward.node.resting import RestingChain, RestingKeys
from twinward.node.store_guard import require_named_in_home, require_of_one_node, require_there
from twinward_ledger.chains import open_chain
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.formats.policy import Group, PolicyWitness, QuorumPolicy
from twinward_ledger.witness.witness import WitnessPeer


def create_node(settings: Settings, *, cards: Sequence[WitnessCard] = (), clock: Clock | None = None) -> Node:
    """Make a new node in an empty or absent home, its keys first, and found its consortium.

    Args:
        settings: of the node.
        cards: the witnesses that will be asked over HTTP; none makes an embedded consortium, whose witnesses sign here.
        clock: the machine's, if not given.

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
    tighten(home)
    try:
        with translated():
            log_key = make_identity(settings, settings.tenant).log_key(settings.origin)
            settings = settings.model_copy(update={"log_key": str(log_key)})
            if cards:
                settings = _with_witnesses(settings, cards)
            node = _assemble(settings, clock or SystemClock(), found=True, cards=cards)
            _require_new(node)
            write_private(home / FILE_NAME, settings.to_toml().encode())
    except BaseException:
        empty(home)  # it was empty before, so a home is whole or not there
        raise
    return node


@contextmanager
def open_node(home: Path | None = None, *, clock: Clock | None = None) -> Iterator[Node]:
    """The node in a home, opened and closed again.

    Raises:
        NotFound: there is no node.
        BadInput: its settings are wrong.
        NotAtWork: it was restored, and other databases than its own are named.
        StoresNotOwn: a database is gone, empty, or another one than this home works with.
        LogTampered: the log is not, or no longer whole, what this home had signed.
        Unavailable: a key service, store or chain does not answer.
    """
    settings = Settings.load(home)
    if not (settings.home / FILE_NAME).is_file():
        hint = "`twinward demo` makes one and fills it, `twinward node init` makes an empty one"
        raise NotFound(f"there is no node in {settings.home}", hint=hint)
    tighten(settings.home)
    restored = RestoredHome.of(settings.home)
    if restored is not None:
        restored.require_own_databases(settings)
        settings = settings.model_copy(update={"alert_url": ""})
    require_named_in_home(settings)
    with translated():
        node = _assemble(settings, clock or SystemClock(), found=False, restored=restored)
        try:
            require_of_one_node(node)
            yield node
        finally:
            node.close()


def join_as_peer(node: Node, name: str) -> Node:
    """The node of another member of an embedded consortium, on this machine: its own keys, vault and log."""
    home = home_of(node.settings, name)
    own = ("keys", "log_key", "records", "keyring", "log")  # what those settings name is the node's own
    update = {"home": home, "tenant": name, "hospital": name.title(), "passphrase_file": None, **dict.fromkeys(own, "")}
    settings = node.settings.model_copy(update=update)
    with translated():
        identity = identity_of(settings, name)
        return Node(settings, identity, _neighbourhood(settings, identity, node.consortium, node.witnesses), node.clock)


def _require_new(node: Node) -> None:
    """A new node must not adopt another one's records or log: their keys are not its own."""
    if node.store.count() or node.log.store.size():
        node.close()
        raise Conflict(
            "a database that the settings name holds another node's records or log", hint="give an empty one"
        )


def _with_witnesses(settings: Settings, cards: Sequence[WitnessCard]) -> Settings:
    """Settings under which these witnesses are asked; writes their quorum policy: any ``quorum`` of them."""
    path = settings.home / POLICY_FILE
    log = VerifierKey.parse(settings.log_key)
    witnesses = tuple(PolicyWitness(one.name, VerifierKey.parse(one.key), one.url.rstrip("/")) for one in cards)
    names = tuple(one.name for one in witnesses)
    if not 1 <= settings.quorum <= len(set(names)) == len(names):
        hint = "give each card once, and a --quorum of at most their number"
        raise BadInput(f"a quorum of {settings.quorum} cannot be reached by these witnesses", hint=hint)
    policy = QuorumPolicy(((log, ""),), witnesses, (Group("consortium", settings.quorum, names),), "consortium")
    head = f"# Which witnesses must have co-signed {settings.origin} (c2sp.org/tlog-policy). Yours to edit.\n"
    write_private(path, head.encode() + policy.encode())
    return settings.model_copy(update={"witnesses": names, "quorum_policy": Path(POLICY_FILE)})


def _neighbourhood(
    settings: Settings, identity: Identity, consortium: Consortium, embedded: Sequence[WitnessPeer]
) -> Neighbourhood:
    """The witnesses a log asks: those of its quorum policy over HTTP, else the embedded ones."""
    policy = policy_of(settings)
    if policy is None:
        return Neighbourhood(consortium, tuple(embedded))
    asked = witnesses_at(policy, identity.log_key(settings.origin), settings.witness_timeout_s)
    return Neighbourhood(consortium, asked, policy)


def _assemble(
    settings: Settings,
    clock: Clock,
    *,
    found: bool,
    cards: Sequence[WitnessCard] = (),
    restored: RestoredHome | None = None,
) -> Node:
    embedded = settings.witnesses if settings.quorum_policy is None else ()
    keys_of = make_identity if found else identity_of
    identities = {name: keys_of(settings, name) for name in {*embedded, settings.tenant}}
    if not found:
        require_there(settings)
    chain: ChainClient = open_chain(
        settings.chain_uri,
        chain_id=settings.chain_id,
        key=chain_key_of(settings),
        now_s=lambda: clock.now_ms() // 1000,
    )
    if restored is not None:
        identities = {name: replace(one, provider=RestingKeys(one.provider)) for name, one in identities.items()}
        chain = RestingChain(chain)
    path = settings.home / CONSORTIUM_FILE
    keys = {name: one.witness_keys() for name, one in identities.items()}
    if found:
        founders = [one.founder() for one in cards]
        founders += [founder_of(name, keys[name]) for name in embedded]
        review_s = settings.break_glass_review_s
        consortium = Consortium.found(chain, path, founders, settings.quorum, review_s=review_s, keys=keys)
    else:
        consortium = Consortium.join(chain, path, keys)
    logs = [identity.log_key(origin_of(name)) for name, identity in identities.items()]
    witnesses = [witness_of(settings, name, identities[name], logs, consortium, clock) for name in embedded]
    identity = identities[settings.tenant]
    surrounds = _neighbourhood(settings, identity, consortium, witnesses)
    return Node(settings, identity, surrounds, clock, restored=restored)
