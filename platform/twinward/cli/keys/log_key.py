"""``twinward keys rotate-log``: another key for the node's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.input import confirm
from twinward.cli.keys.shred import DryRunOption
from twinward.cli.output import HomeOption, JsonOption, YesOption, say, show_json
from twinward.core.errors import NotAtWork, TwinwardError
from twinward.core.vocabulary import Action, Purpose

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessRequest
    from twinward.node import Node


def rotate_log(
    account: AsOption,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the log another key to sign its checkpoints with. The older key counts for nothing larger from then on.

    First --dry-run: it prints the key that comes next. Tell it to the hospitals whose witnesses co-sign this log, by
    other means than the log; each types `witness add-log`, and goes on without a pause. Then rotate. Who did it stands
    in the log first; the first checkpoint under the new key bears both signatures; a running server follows by itself.
    Afterwards hand auditors a new `audit trust`.

    Exit codes: 0, 1 you said no, 2 nobody to ask and no --yes, 3 no such account, 4 somebody else rotated at the
    same moment, or a restored node, 6 the account is no officer's (also logged), 7 log or key service does not
    answer, 8 the log is not what was signed. Where it fails, the key before is in force.

    Example: twinward keys rotate-log --as olga --dry-run
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.errors import translated

        if node.restored is not None:
            raise NotAtWork("no key of its log is changed")
        with translated():
            before, after = node.log.history.newest, node.log.next_key
        shown: dict[str, Any] = {"before": str(before), "after": str(after)}
        if dry_run:
            _show_plan(node, shown, as_json=as_json)
            return
        request = context_of(node, account, Purpose.COMPLIANCE).request(
            Action.AUDIT, detail=(("page", "log key"), ("key_before", str(before)), ("key_after", str(after)))
        )
        _ask(node, request, str(after), yes=yes)
        node.access.decide(request)
        size = node.audit.change_log_key(after).earlier[-1].until
        waits = _cosigned(node)
        if as_json:
            show_json(shown | {"size": size, "waits": waits, "done": True})
            return
        say(f"from size {size} on the log is signed with {after}")
        if waits:
            say(f"not co-signed yet: {waits}")
        say("hand auditors a new `twinward audit trust`; back the node up now")


def _ask(node: Node, request: AccessRequest, after: str, *, yes: bool) -> None:
    if node.access.may(request):  # a refusal is not asked about: it is logged
        confirm(f"Do the witnesses know {after}? Whoever does not will co-sign nothing until told.", yes=yes)


def _show_plan(node: Node, shown: dict[str, Any], *, as_json: bool) -> None:
    names = [peer.key.name for peer in node.witnesses] if node.settings.quorum_policy is not None else []
    if as_json:
        show_json(shown | {"witnesses": names, "done": False})
        return
    say(f"the log is signed with {shown['before']}")
    say(f"the next key would be   {shown['after']}")
    if names:
        say(f"first, at each witness ({', '.join(names)}):")
        say(f'  twinward witness add-log "{shown["after"]}"')
    say("nothing was done")


def _cosigned(node: Node) -> str:
    """Show the change to witnesses and chain; why that waits, if it does: a later checkpoint makes up for it."""
    try:
        return node.audit.cosign_and_anchor().problem
    except TwinwardError as error:
        return str(error)
