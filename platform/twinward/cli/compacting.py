"""``twinward node compact``: records that stand in rows of their own move into sealed segments."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from twinward.cli.opening import node_at
from twinward.cli.screen import HomeOption, JsonOption, progress, say, show_json
from twinward.cli.shredding import DryRunOption

if TYPE_CHECKING:
    from twinward.vault.segments.compaction import CompactionReport


def compact(dry_run: DryRunOption = False, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Seal what stands in single rows together: a tenth of the room, faster to read whole. Nothing else changes.

    It may run while the node serves; a twin that is being written to is left for the next run. Interrupted at any
    point, nothing is lost, and running it again goes on. Exit codes: 0, 3 no node in the home, 7 a database does not
    answer.

    Example: twinward node compact --dry-run
    """
    with node_at(home, as_json=as_json) as node:
        with progress() as bars:
            task = bars.add_task("compacting", total=None)
            report = node.compactor.run(
                dry_run=dry_run, progress=lambda done, total: bars.update(task, completed=done, total=total)
            )
        if as_json:
            show_json(_shown(report, dry_run=dry_run))
        elif dry_run:
            say(f"{report.rows} rows and {report.merged} small segments of {report.twins} twins would be compacted")
        else:
            before = f"{report.rows} rows and {report.merged} small segments of {report.twins} twins"
            say(f"{before}: {report.segments} segments")
            if report.bytes_before:
                say(f"sealed bytes {report.bytes_before:,} before, {report.bytes_after:,} after")
            if report.busy:
                say(f"{report.busy} twins were being written to; run it again for them")


def _shown(report: CompactionReport, *, dry_run: bool) -> dict[str, object]:
    shown: dict[str, object] = {**asdict(report), "done": not dry_run}
    if dry_run:
        for unknown in ("segments", "bytes_after"):
            shown[unknown] = None
    return shown
