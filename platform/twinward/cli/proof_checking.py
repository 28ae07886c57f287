"""``twinward audit check-proof``: what an auditor does with a proof or a report, without a node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.log_files import read_policy
from twinward.cli.opening import trust_in
from twinward.cli.screen import HomeOption, JsonOption, errors_taught, read_input, say, show_json

if TYPE_CHECKING:
    from twinward.audit.proofs.trust import Proven
    from twinward_ledger.proofs.report_verifier import ReportVerdict

MAX_REPORT_BYTES = 256 << 20


def check_proof(
    file: Annotated[Path, typer.Argument(help="What `audit export` wrote.")],
    trust_file: Annotated[
        Path | None, typer.Option("--trust", help="What `audit trust` wrote.", show_default="the node in the home")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A quorum policy: who must have co-signed.", show_default="a number of them")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check an exported proof or report offline: leaves, paths, completeness, signatures, anchor, disclosed events.

    Exit codes: 0 it holds, 2 not a proof or trust file, 3 neither --trust nor a node, 8 it does not hold.

    Example: twinward audit check-proof event-17.proof --trust st-anna.trust.json
    """
    with errors_taught(as_json=as_json):
        from twinward.audit.proofs import trust as trusting

        raw = read_input(file, most=MAX_REPORT_BYTES)
        rule = None if policy is None else read_policy(policy)
        believed = trust_in(trust_file, home)
        if raw.startswith(b"{"):
            _show_report(trusting.check_report(raw, believed, rule), as_json=as_json)
        else:
            _show_proven(trusting.check_proof(raw, believed, rule), as_json=as_json)


def _show_proven(proven: Proven, *, as_json: bool) -> None:
    from twinward.audit.events.wording import sentence
    from twinward.core.clock import iso
    from twinward_ledger.formats.leaf import MINUTE_MS

    verdict, anchor = proven.verdict, proven.verdict.anchor
    minute = iso(verdict.leaf.minute * MINUTE_MS)[:16].replace("T", " ")
    names = [name for name, _ in verdict.cosigned]
    said = None if proven.event is None else f"{sentence(proven.event)} ({proven.event.decision})"
    block = None if anchor is None else anchor.block_number
    if as_json:
        shown: dict[str, Any] = {"holds": True, "index": verdict.index, "minute": minute, "cosigned": names}
        show_json(shown | {"size": verdict.checkpoint.size, "block": block, "event": said})
        return
    say(f"holds: event {verdict.index} of {verdict.checkpoint.origin}, logged {minute} UTC")
    say(f"under a checkpoint of {verdict.checkpoint.size} events, co-signed by {', '.join(names)}")
    say("not anchored when it was exported" if anchor is None else f"a quorum signed its anchor; block {block}")
    say(f"it says: {said}" if said else "the event itself is not disclosed")


def _show_report(verdict: ReportVerdict, *, as_json: bool) -> None:
    from twinward.audit.events.wording import sentence
    from twinward.audit.proofs.trust import events_of

    origin, names = verdict.checkpoint.origin, [name for name, _ in verdict.cosigned]
    read = events_of(verdict)
    rows = [
        {"index": row.index, "event": None if event is None else f"{sentence(event)} ({event.decision})"}
        for row, event in zip(verdict.rows, read, strict=True)
    ]
    if as_json:
        shown: dict[str, Any] = {"holds": True, "patient": verdict.subject, "through": verdict.through}
        show_json(shown | {"size": verdict.checkpoint.size, "cosigned": names, "rows": rows})
        return
    say(
        f"holds: {len(rows)} accesses to {verdict.subject}, all there are among the first {verdict.through} of {origin}"
    )
    say(f"under a checkpoint of {verdict.checkpoint.size} entries, co-signed by {', '.join(names)}")
    for row in rows:
        say(f"{row['index']:>8}  {row['event'] or 'erased; that it happened still stands'}")
