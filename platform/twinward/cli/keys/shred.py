"""``twinward keys shred``, ``finish``, ``check-receipt``: erasing people and categories, proving that it was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, audit_permit, await_server, context_of, node_at, trust_in, twin_of
from twinward.cli.errors import errors_taught
from twinward.cli.input import confirm, read_input
from twinward.cli.output import HomeOption, JsonOption, YesOption, counted, progress, say, show_json
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Category, Purpose

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessRequest
    from twinward.erasure.service import ErasureReceipt
    from twinward.node import Node

BACK_UP = "back up the keyring now, backups of it that are older open nothing any more"
MAX_RECEIPT_BYTES = 4 << 20

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
TwinsArgument = Annotated[list[str], typer.Argument(help="Twins' opaque ids, as `twinward twin list` prints them.")]
ReceiptsOption = Annotated[
    Path | None, typer.Option("--receipts", help="A folder for the receipts: made, anchored, one file an erasure.")
]


@contextmanager
def wrapping_anew() -> Iterator[Callable[[int, int], None]]:
    """A progress bar over twin keys; gives what ``Keyring.rotate`` reports to."""
    with progress() as bars:
        task = bars.add_task("wrapping anew", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=max(total, 1))


def shred(
    twins: TwinsArgument,
    account: AsOption,
    purpose: Annotated[Purpose, typer.Option(help="PATRQT (the patient's request) or HCOMPL (compliance).")],
    category: Annotated[
        list[Category] | None, typer.Option("--category", help="Only this category; may be given more than once.")
    ] = None,
    later: Annotated[
        bool, typer.Option("--later", help="Leave rotation and old backups to `keys finish`: many share one.")
    ] = False,
    receipts: ReceiptsOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase people, or categories of theirs: destroy keys, delete rows, and make it so for every old backup.

    For a hospital with one officer. Where another could approve it, it takes both: `twinward erasure propose`, and
    `approve`; this refuses, all but --dry-run. The decision is logged first. Then the keys go, rows and blind tags are
    deleted, everybody else's key is wrapped under a new KEK and the old KEKs are destroyed, so backups of the keyring
    from before open nothing. Interrupted at any point, `keys finish` goes on. Exit codes: 0, 1 you said no, 2 nobody to
    ask and no --yes, 3 no such twin or account, 4 it takes two officers, 6 policy says no, 7 the key service does not
    answer.

    Example: twinward keys shred 0198… --as olga --purpose PATRQT --category psychiatry --receipts ./receipts
    """
    with node_at(home, as_json=as_json) as node:
        if dry_run and yes:
            raise BadInput("--dry-run and --yes contradict each other")
        if later and receipts is not None:
            raise BadInput("there is no receipt before `keys finish`", hint="leave --later or --receipts out")
        _require_place(receipts)
        context, categories = context_of(node, account, purpose), frozenset(category or ())
        requests = [context.request(Action.SHRED, twin_of(node, twin), categories) for twin in dict.fromkeys(twins)]
        if dry_run:
            raise typer.Exit(_show_dry_run(node, requests, as_json=as_json))
        if node.access.may(*requests):  # a refusal is not asked about: it is logged
            what = f"of {_going(categories)} for ever" if categories else "for ever"
            whom = counted(len(requests), "twin", "twins")
            confirm(f"Erase {whom} {what}? Backups of the keyring from before will open nothing.", yes=yes)
        node.erasure_desk.order_alone(requests)
        await_server(node)
        if later:
            _show_ordered(requests, as_json=as_json)
            return
        _finish(node, account, receipts, as_json=as_json)


def finish(
    account: AsOption,
    receipts: ReceiptsOption = None,
    dry_run: DryRunOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do what is left of erasures ordered with --later, and of those that were interrupted. One rotation for all.

    Exit codes: 0 (also where nothing is left), 3 no such account, 6 receipts are not for this account, 7 a database or
    the key service does not answer.

    Example: twinward keys finish --as olga --receipts ./receipts
    """
    with node_at(home, as_json=as_json) as node:
        node.accounts.named(account)
        _require_place(receipts)
        if dry_run:
            unfinished = node.keyring.unfinished()
            beyond = max((one.kek_version for one in unfinished), default=0)
            plan = node.keyring.rotation_plan(beyond) if unfinished else None
            if as_json:
                keys = 0 if plan is None else plan.keys
                show_json({"unfinished": len(unfinished), "keys": keys, "done": False})
            else:
                say(f"{counted(len(unfinished), 'erasure is', 'erasures are')} unfinished; nothing was done")
            return
        _finish(node, account, receipts, as_json=as_json)


def check_receipt(
    file: Annotated[Path, typer.Argument(help="A file of `keys shred --receipts`.")],
    trust_file: Annotated[
        Path | None, typer.Option("--trust", help="What `audit trust` wrote.", show_default="the node in the home")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt offline: the log says that the erasure is done; signatures, witnesses and anchor say so too.

    Exit codes: 0 it holds, 2 no receipt or trust file, 3 neither --trust nor a node, 8 it does not hold.

    Example: twinward keys check-receipt ./receipts/shred-17.proof --trust st-anna.trust.json
    """
    with errors_taught(as_json=as_json):
        from twinward.erasure.receipt import check_receipt as check

        believed = trust_in(trust_file, home)
        held = check(read_input(file, most=MAX_RECEIPT_BYTES), believed)
        if as_json:
            shown: dict[str, Any] = {"holds": True, "twin": held.twin, "categories": sorted(held.categories)}
            show_json(shown | {"by": held.agent, "index": held.index, "block": held.block, "cosigned": held.cosigned})
            return
        what = "everything" if not held.categories else ", ".join(sorted(held.categories))
        say(f"holds: twin {held.twin} was shredded ({what}) for {held.agent}")
        anchor = "not anchored when it was written" if held.block is None else f"anchored, block {held.block}"
        say(f"event {held.index}, co-signed by {', '.join(held.cosigned)}; {anchor}")


def _finish(node: Node, account: str, receipts: Path | None, *, as_json: bool) -> None:
    with wrapping_anew() as shown:
        done = node.erasures.finish(shown)
    files = _write_receipts(node, account, receipts, done) if receipts is not None else {}
    if as_json:
        each = [
            {
                "twin": one.twin,
                "categories": sorted(one.categories),
                "decided_at_index": one.decided_at_index,
                "done_at_index": one.done_at_index,
                "receipt": str(files[one.done_at_index]) if one.done_at_index in files else None,
            }
            for one in done
        ]
        show_json({"erased": each, "kek": done[0].kek if done else None})
        return
    for one in done:
        what = "everything" if not one.categories else ", ".join(sorted(one.categories))
        say(f"twin {one.twin}: shredded ({what}), nothing of it opens any more, from no backup")
        say(f"  decided in event {one.decided_at_index}, done in event {one.done_at_index} of the access log")
        if one.done_at_index in files:
            say(f"  receipt: {files[one.done_at_index]}")
    say(f"{BACK_UP}" if done else "nothing was left to do")


def _require_place(folder: Path | None) -> None:
    """Raise ``BadInput`` unless receipts can lie there: asked before anything is erased."""
    if folder is not None and not (folder.is_dir() if folder.exists() else folder.absolute().parent.is_dir()):
        raise BadInput(
            f"{folder} cannot be made", hint="give --receipts a folder, or a new one in a folder that exists"
        )


def _write_receipts(node: Node, account: str, folder: Path, done: Sequence[ErasureReceipt]) -> dict[int, Path]:
    """Sign, cosign and anchor the log, then write each erasure's event with its proof, disclosed."""
    from twinward.core.private_files import write_private

    if not done:
        return {}
    node.audit.checkpoint_and_anchor()
    files = {}
    for one in done:
        permit = audit_permit(node, account, f"disclose {one.done_at_index}")
        bundle = node.audit_reader.disclose(permit, one.done_at_index)
        files[one.done_at_index] = folder / f"shred-{one.done_at_index}.proof"
        folder.mkdir(exist_ok=True)
        write_private(files[one.done_at_index], bundle.encode())
    return files


def _show_dry_run(node: Node, requests: Sequence[AccessRequest], *, as_json: bool) -> int:
    from twinward.erasure.service import with_derived

    decisions = [node.access.check(one) for one in requests]
    plan = node.erasures.plan()
    permitted = all(one.permitted for one in decisions)
    if as_json:
        asked = [
            {
                "twin": request.twin,
                "categories": sorted(with_derived(request.categories)),
                "permitted": one.permitted,
                "reason": one.reason,
            }
            for request, one in zip(requests, decisions, strict=True)
        ]
        show_json({"asked": asked, "keys": plan.keys, "retired": plan.retiring, "done": False})
    else:
        for request, one in zip(requests, decisions, strict=True):
            say(f"twin {request.twin}: {'would be permitted' if one.permitted else 'would be refused'}: {one.reason}")
        if requests[0].categories:
            say(f"would be shredded: {_going(requests[0].categories)}")
        keks = ", ".join(f"KEK {version}" for version in plan.retiring)
        wrapped = counted(plan.keys, "key", "keys")
        say(f"{wrapped} would be wrapped under KEK {plan.kek} and {keks} destroyed; nothing was done or logged")
    return 0 if permitted else 6


def _going(categories: frozenset[Category]) -> str:
    """What goes with these categories, in words."""
    from twinward.erasure.service import with_derived

    derived = sorted(with_derived(categories) - categories)
    return ", ".join(sorted(categories)) + "".join(f" and the {one} computed from them" for one in derived)


def _show_ordered(requests: Sequence[AccessRequest], *, as_json: bool) -> None:
    still = "`twinward keys finish` makes it so for rows and for backups"
    if as_json:
        show_json({"ordered": [one.twin for one in requests], "still_needed": still})
    else:
        whose = counted(len(requests), "twin", "twins")
        say(f"the keys of {whose} are destroyed in the keyring; still needed: {still}")
