"""Making a node, opening the one in a home, and joining an embedded consortium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twinward.clock import Clock, SystemClock
from twinward.config import FILE_NAME, Settings, origin_of
from twinward.consortium import Consortium
from twinward.errors import BadInput, Conflict, NotFound
from twinward.node.errors import translated
from twinward.node.homes import empty, home_of, write_private
from twinward.node.members import chain_key_of, identity_of, witness_of
from twinward.node.node import Neighbourhood, Node
from twinward_ledger.chains import open_chain


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
        empty(home)  # it was empty before, so a home is whole or not there
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


def join_as_peer(node: Node, name: str) -> Node:
    """The node of another member of an embedded consortium, on this machine: its own keys, vault and log."""
    home = home_of(node.settings, name)
    embedded = {"keys": "", "records": "", "keyring": "", "log": ""}  # what those settings name is the node's own
    update = {"home": home, "tenant": name, "hospital": name.title(), **embedded}
    settings = node.settings.model_copy(update=update)
    neighbourhood = Neighbourhood(node.consortium, node.witnesses)
    with translated():
        return Node(settings, identity_of(settings, name), neighbourhood, node.clock)


def _require_new(node: Node) -> None:
    """A new node must not adopt another one's records or log: their keys are not its own."""
    if node.store.count() or node.log.store.size():
        node.close()
        raise Conflict(
            "a database that the settings name holds another node's records or log", hint="give an empty one"
        )


def _assemble(settings: Settings, clock: Clock, *, found: bool) -> Node:
    identities = {name: identity_of(settings, name) for name in {*settings.witnesses, settings.tenant}}
    chain = open_chain(
        settings.chain_uri,
        chain_id=settings.chain_id,
        key=chain_key_of(settings),
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
        witness_of(settings, name, identities[name], logs, consortium, clock) for name in settings.witnesses
    )
    return Node(settings, identities[settings.tenant], Neighbourhood(consortium, witnesses), clock)
