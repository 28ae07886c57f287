"""``twinward account link`` and ``unlink``: which person of the hospital's OpenID provider signs in with an account."""

from __future__ import annotations

from typing import Annotated

import typer

from twinward.cli.account import AccountArgument, OfficerOption, doer_at, tell
from twinward.cli.context import node_at
from twinward.cli.output import HomeOption, JsonOption
from twinward.core.errors import BadInput

SubjectArgument = Annotated[
    str, typer.Argument(help="The `sub` that the provider has for the person; no name, no mail address.")
]


def link(
    account: AccountArgument,
    subject: SubjectArgument,
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a person of the hospital's sign-in (the setting oidc_issuer) sign in with an account.

    The person is named by issuer and subject, which never change hands. Nobody links another officer's account but at
    the machine, without --as. With oidc_wait_officers = 2 the first officer is noted, and another one's same command
    links; to their own account officers link alone. Exit codes: 0, 2 a system's account or no provider, 3 no such
    account, 4 the person is linked already or the same officer twice, 6 policy says no, 7 the log cannot be written.

    Example: twinward account link olga 7c0fa1c2-5e0e-4be2-b0a1-0c5d8f3e9b11
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.account_store import IdentityRecord

        issuer = node.settings.oidc_issuer
        if not issuer:
            raise BadInput("this node has no OpenID provider", hint="set oidc_issuer and oidc_client_id first")
        person = IdentityRecord(issuer=issuer, subject=subject)
        tell(node, node.account_desk.link(account, person, doer_at(node, by)), as_json=as_json)


def unlink(
    account: AccountArgument,
    subject: SubjectArgument,
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a person of the hospital's sign-in not sign in with an account any more; all its sessions end.

    Exit codes: 0, 3 no such account, or it is not linked to that person, 6 policy says no, 7 the log cannot be written.

    Example: twinward account unlink olga 7c0fa1c2-5e0e-4be2-b0a1-0c5d8f3e9b11 --as ben
    """
    with node_at(home, as_json=as_json) as node:
        tell(node, node.account_desk.unlink(account, subject, doer_at(node, by)), as_json=as_json)
