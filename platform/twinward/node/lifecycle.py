"""Making a node, opening the one in a home, and joining an embedded consortium."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from twinward.core.clock import Clock, SystemClock
from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.private_files import write_private
from twinward.node.errors import translated
from twinward.node.home import empty, home_of, tighten
from twinward.node.member_keys import identity_of, make_identity
from twinward.node.node import Node
from twinward.node.restored_home import RestingKeys, RestoredHome
from twinward.node.store_guard import require_named_in_home, require_of_one_node, require_there

if TYPE_CHECKING:
    from twinward.consortium.identity import Identity
    from twinward.consortium.membership import WitnessCard
    from twinward.node.consortium_links import ConsortiumLinks


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
            node = _found(settings, cards, clock or SystemClock())
            write_private(home / FILE_NAME, node.settings.to_toml().encode())
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
        settings = settings.model_copy(update={"alert_url": "", "live_alert_url": ""})
    require_named_in_home(settings)
    with translated():
        node = _opened(settings, clock or SystemClock(), restored)
        try:
            require_of_one_node(node)
            yield node
        finally:
            node.close()


def join_as_peer(node: Node, name: str) -> Node:
    """The node of another member of an embedded consortium, on this machine: its own keys, vault and log."""
    home = home_of(node.settings, name)
    own = ("keys", "log_key", "records", "keyring", "log", "state")  # what those settings name is the node's own
    update = {"home": home, "tenant": name, "hospital": name.title(), "passphrase_file": None, **dict.fromkeys(own, "")}
    settings = node.settings.model_copy(update=update)
    with translated():
        identity = identity_of(settings, name)
    return Node(settings, identity, lambda: _peer_links(node, settings, identity), node.clock)


def _found(settings: Settings, cards: Sequence[WitnessCard], clock: Clock) -> Node:
    """A new node with all its parts: what is wrong with one shows now. Raises ``Conflict`` as ``create_node``."""
    from twinward.node.consortium_links import found_links, with_witnesses

    if cards:
        settings = with_witnesses(settings, cards)
    embedded = settings.witnesses if settings.quorum_policy is None else ()
    identities = {name: make_identity(settings, name) for name in {*embedded, settings.tenant}}
    links = found_links(settings, identities, clock, cards)
    node = Node(settings, identities[settings.tenant], lambda: links, clock)
    try:
        node.open_all()
        # It must not adopt another one's records or log: their keys are not its own.
        if node.store.count() or node.log.store.size():
            raise Conflict(
                "a database that the settings name holds another node's records or log", hint="give an empty one"
            )
    except BaseException:
        node.close()
        raise
    return node


def _opened(settings: Settings, clock: Clock, restored: RestoredHome | None) -> Node:
    """The node of a home, of which nothing but its keys is open yet."""
    identity = identity_of(settings, settings.tenant)
    require_there(settings)
    if restored is not None:
        identity = replace(identity, provider=RestingKeys(identity.provider))
    return Node(settings, identity, lambda: _links(settings, identity, clock, restored), clock, restored=restored)


def _links(settings: Settings, identity: Identity, clock: Clock, restored: RestoredHome | None) -> ConsortiumLinks:
    from twinward.node.consortium_links import join_links

    return join_links(settings, identity, clock, at_rest=restored is not None)


def _peer_links(node: Node, settings: Settings, identity: Identity) -> ConsortiumLinks:
    from twinward.node.consortium_links import peer_links

    return peer_links(settings, identity, node.links)
