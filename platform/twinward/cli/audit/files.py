"""``twinward audit tiles`` and ``twinward audit gaps``: what anybody can do with the log's own files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.context import node_at
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, progress, say, show_json
from twinward.core.errors import BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from twinward_ledger.formats.policy import QuorumPolicy
    from twinward_ledger.log.heartbeat import ClockStep


def tiles(
    target: Annotated[
        Path, typer.Option("--out", help="Folder to write into; one of an earlier export is brought up.")
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the log as static files (c2sp.org/tlog-tiles), exactly what the node serves under /log, for any web server.

    The checkpoint is written last, so whoever reads while this runs finds everything it covers. Files that are there
    already are left alone if they never change. Exit codes: 0, 2 the folder cannot be written, 3 nothing is co-signed
    by a quorum yet, 4 the folder holds something else.

    Example: twinward audit tiles --out ./public/log
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.core.private_files import write_public
        from twinward_ledger.errors import NoSuchEntry
        from twinward_ledger.log.static_files import CHECKPOINT, tiles_of

        if target.exists() and (not target.is_dir() or any(one.name not in _NAMES for one in target.iterdir())):
            raise Conflict(f"{target} holds something else", hint="give another --out")
        try:
            size = node.log_files.checkpoint()[0].size
        except NoSuchEntry as error:
            raise NotFound(str(error), hint="`twinward audit checkpoint` makes one") from None
        written = 0
        try:
            with progress() as bars:
                bar = bars.add_task("log files", total=sum(1 for _ in tiles_of(size)) + 1)
                for file in node.log_files.all():
                    path = target / file.path
                    if file.path == CHECKPOINT or not path.is_file():
                        path.parent.mkdir(parents=True, exist_ok=True)
                        write_public(path, file.content)
                        written += 1
                    bars.advance(bar)
        except OSError as error:
            raise BadInput(f"{target} cannot be written: {error.strerror}") from None
        if as_json:
            show_json({"folder": str(target), "size": size, "written": written})
        else:
            say(f"{size} events as static files in {target}, {written} of them new")


def policy(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print the quorum policy (c2sp.org/tlog-policy): which witnesses must have co-signed for a checkpoint to count.

    For `audit check-proof --policy`, `witness compare` and other people's tools. Exit codes: 0, 3 no node in the home.

    Example: twinward audit policy > st-anna.policy
    """
    with node_at(home, as_json=as_json) as node:
        text = node.audit.anchorer.policy.encode().decode("utf-8", "replace")
        if as_json:
            show_json({"policy": text})
        else:
            say(text.rstrip("\n"))


def read_policy(path: Path) -> QuorumPolicy:
    """A quorum policy from a file. Raises ``BadInput`` naming the line that is wrong."""
    from twinward_ledger.errors import MalformedPolicy
    from twinward_ledger.formats.policy import MAX_POLICY_BYTES, QuorumPolicy

    try:
        return QuorumPolicy.parse(read_input(path, most=MAX_POLICY_BYTES))
    except MalformedPolicy as error:
        raise BadInput(f"{path}: {error}", hint="see c2sp.org/tlog-policy") from None


def gaps(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Name every stretch in which the log was silent for longer than its heartbeats promised. Shows no event.

    A gap is a node that was off, or entries that should be there. Where the log's times go back, or its newest lies in
    the future, its clock was wrong: that is named, too. Exit codes: 0 whether there are gaps or not, 3 no
    node in the home, 8 the log cannot be what was signed.

    Example: twinward audit gaps --json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.core.clock import iso
        from twinward_ledger.log.heartbeat import find_clock_steps, find_gaps

        store, now_ms = node.log.store, node.clock.now_ms()
        size = store.size()
        found = list(find_gaps(store.leaves(0, size), now_ms=now_ms))
        steps = list(find_clock_steps(store.leaves(0, size), now_ms=now_ms))
        if as_json:
            rows = [
                {
                    "log": node.log.origin,
                    "after": one.after,
                    "from": iso(one.from_ms),
                    "to": iso(one.to_ms) if one.ended else None,
                    "promised_s": one.promised_s,
                }
                for one in found
            ]
            show_json({"gaps": rows, "clock": [_step_json(node.log.origin, one) for one in steps]})
            return
        for one in found:
            until = f"until {_minute(iso(one.to_ms))}" if one.ended else "and is silent still"
            say(
                f"{node.log.origin} was silent from {_minute(iso(one.from_ms))} {until}, after entry {one.after};"
                f" it had promised an entry every {one.promised_s} s"
            )
        for step in steps:
            now = "the next is dated" if step.ended else "now it is"
            say(
                f"{node.log.origin}: the clock was ahead, or was set back: entry {step.after} is dated"
                f" {_minute(iso(step.from_ms))}, {now} {_minute(iso(step.to_ms))}"
            )
        if not found:
            say("no gap: the log was never silent for longer than it promised")


def _step_json(origin: str, step: ClockStep) -> dict[str, object]:
    from twinward.core.clock import iso

    to = iso(step.to_ms) if step.ended else None
    return {"log": origin, "after": step.after, "from": iso(step.from_ms), "to": to}


_NAMES = frozenset({"checkpoint", "tile"})


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ") + " UTC"
