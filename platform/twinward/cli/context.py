"""How a command comes to a node, an account, a twin and a permit. Imports the node only when it runs."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import err, tell
from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import BadInput, NotFound
from twinward.core.vocabulary import Purpose, TwinId
from twinward.vault.errors import TwinShredded

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessContext, Permit
    from twinward.audit.proofs.trust import Trust
    from twinward.node import Node

AsOption = Annotated[
    str,
    typer.Option("--as", help="The account in whose name this is done. The log also says who typed it."),
]
TwinArgument = Annotated[str, typer.Argument(help="A twin's opaque id, as `twinward twin list` prints it.")]
JUSTIFICATION_MAX = 1000
"""As over HTTP (``access.justification.MAX_CHARS``, which is not imported for it)."""


@contextmanager
def node_at(home: Path | None, *, as_json: bool) -> Iterator[Node]:
    """The node in a home, with every expected error turned into a message."""
    with errors_taught(as_json=as_json):
        from twinward.node import open_node

        with open_node(home) as node:
            if node.restored is not None:
                tell(f"note: {node.settings.home} was {node.restored.sentence()}")
            yield node


def trust_in(trust_file: Path | None, home: Path | None) -> Trust:
    """What proofs are held against: a trust file, or else the node in the home.

    Raises:
        NotFound: there is neither.
        BadInput: the file is no trust file.
    """
    from twinward.audit.proofs.trust import Trust

    if trust_file is not None:
        return Trust.parse(read_input(trust_file))
    where = Settings.load(home).home
    if not (where / FILE_NAME).is_file():  # an auditor has no node, and needs none
        hint = "give --trust FILE: the hospital writes it with `twinward audit trust --out FILE`"
        raise NotFound(f"there is nothing to check it against: no trust file, and no node in {where}", hint=hint)
    from twinward.node import open_node

    with open_node(home) as node:
        return node.trust()


def twin_of(node: Node, text: str) -> TwinId:
    """A twin that is kept here. Raises ``NotFound``, ``TwinShredded`` where it was once."""
    twin = TwinId(text)
    if twin not in node.twins.all():
        if node.keyring.is_shredded(twin):
            raise TwinShredded(f"twin {twin} was shredded: nothing of it opens any more")
        raise NotFound("there is no such twin", hint="`twinward twin list` prints the ids of all")
    return twin


def context_of(node: Node, account: str, purpose: Purpose, justification: str = "") -> AccessContext:
    """Who asks, what for and why. The log also says that it was typed on the node's machine, and by which user of it.

    Raises ``NotFound``, ``AccountDisabled``, and ``BadInput`` for a justification that is too long.
    """
    from twinward.access.interfaces import AccessContext

    principal = node.accounts.named(account)
    if len(justification) > JUSTIFICATION_MAX:
        raise BadInput(f"a justification has at most {JUSTIFICATION_MAX} characters")
    return AccessContext(principal, purpose, justification, typed_by())


def typed_by() -> tuple[tuple[str, str], ...]:
    """What an event says of a command: that it was typed on the node's own machine, and by which user of it."""
    return (("via", "command line"), ("os_user", _os_user()))


def await_server(node: Node) -> None:
    """Wait until a server of this home has let go of whom this command let go of, and say where that takes long."""
    from twinward.node.home import await_followed, moment

    if not await_followed(node.settings.home, moment()):
        note = "the node that serves this home still makes its cohort anew; its answers leave them out already"
        err.print(f"[yellow]note[/]: {note}", soft_wrap=True)


def audit_permit(node: Node, account: str, what: str, twin: TwinId | None = None) -> Permit:
    """Leave to read the log, or one twin's part of it, itself logged: who audits is audited."""
    from twinward.overview.log import permit_to_examine

    return permit_to_examine(node.access, context_of(node, account, Purpose.COMPLIANCE), what, twin)


def _os_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
