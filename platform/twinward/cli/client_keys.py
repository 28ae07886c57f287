"""``twinward account add-client`` and ``client-keys``: systems that sign what they get access tokens by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.account import AccountArgument, OfficerOption, doer_at
from twinward.cli.context import node_at
from twinward.cli.input import read_input
from twinward.cli.node.setup import grant_budget, say_budget
from twinward.cli.output import HomeOption, JsonOption, say, show_json, show_table, table
from twinward.core.vocabulary import Role

if TYPE_CHECKING:
    from twinward.access.account_store import AccountRecord, ClientKeyRecord
    from twinward.node import Node

JwksOption = Annotated[
    Path,
    typer.Option("--jwks", help="A file with its public keys (RFC 7517), each with a kid; '-' for stdin."),
]


def add_client(
    account: Annotated[str, typer.Argument(help="A new account's id: 1 to 64 letters, digits, '.', ':', '@' or '-'.")],
    jwks: JwksOption,
    role: Annotated[Role, typer.Option(help="system or vendor.")] = Role.SYSTEM,
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    unit: Annotated[str, typer.Option(help="The unit it belongs to.")] = "",
    queries: Annotated[
        int | None,
        typer.Option(min=0, max=1_000_000, help="A vendor's queries per epoch.", show_default="of the settings"),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a system or a vendor an account without a secret: it signs for each access token (SMART Backend Services).

    Keys are EC on P-384 (ES384) or RSA of 2048 to 4096 bits (RS384). They are read from the file only; the node fetches
    none from an address. Exit codes: 0, 2 a bad id, role or key, 4 the id is taken or the contract refuses, 7 the chain
    or the log cannot be written.

    Example: twinward account add-client ehr --jwks ./ehr-public.json --name "EHR export"
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.accounts import require_client_role
        from twinward.access.interfaces import Principal

        require_client_role(role)
        keys = _read(node, jwks)
        granted = grant_budget(node, account, role, queries)
        record = node.accounts.add_client(Principal(account, role, name, unit), keys, by=doer_at(node))
        if as_json:
            shown = _json(record) | {"queries_per_epoch": None if granted is None else granted.queries}
            show_json(shown | ({"proposed": granted.proposed} if granted and granted.proposed else {}))
            return
        say(f"{account} ({role.value}) signs with {', '.join(one.kid for one in record.client_keys)}")
        say("It gets access tokens at /oauth/token; /fhir/.well-known/smart-configuration tells where.")
        say_budget(account, granted)


def client_keys(
    account: AccountArgument,
    add: Annotated[Path | None, typer.Option(help="A JWKS file with keys to take besides; '-' for stdin.")] = None,
    remove: Annotated[str | None, typer.Option(help="The kid of a key to take away.")] = None,
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The keys by which a system or vendor signs; take more of them, or take one away.

    To rotate: add the new key, let the system sign with it, remove the old one; that ends its tokens and streams at
    once. Exit codes: 0, 2 a bad key, 3 no such account or key, 6 policy says no, 7 the log cannot be written.

    Example: twinward account client-keys ehr --add ./ehr-2027.json --as olga
    """
    with node_at(home, as_json=as_json) as node:
        who = doer_at(node, by)
        record = None
        if add is not None:
            record = node.account_desk.add_client_keys(account, _read(node, add), who)
        if remove is not None:
            record = node.account_desk.remove_client_key(account, remove, who)
        shown = _json(record or node.account_desk.one(account, who))
        if as_json:
            show_json(shown)
            return
        rows = table("kid", "algorithm", "since")
        for one in shown["client_keys"]:
            rows.add_row(one["kid"], one["alg"], one["made"][:10])
        show_table(rows)


def _read(node: Node, file: Path) -> tuple[ClientKeyRecord, ...]:
    from twinward.access.client_keys import MOST_BYTES, read_jwks

    return read_jwks(read_input(file, most=MOST_BYTES), node.clock.now_ms())


def _json(record: AccountRecord) -> dict[str, Any]:
    from twinward.access.shown_accounts import client_keys_json

    return {"account": record.id, "role": record.role.value, "client_keys": client_keys_json(record)}
