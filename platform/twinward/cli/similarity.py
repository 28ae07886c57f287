"""``twinward similarity``: what a hospital decides before it answers vendors' encrypted queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from twinward.cli.context import AsOption, audit_permit, context_of, node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import confirm
from twinward.cli.output import HomeOption, JsonOption, YesOption, counted, out, say, show_json
from twinward.core.vocabulary import Action, Purpose

if TYPE_CHECKING:
    from twinward_crypto.homomorphic.planner import Choice


def key(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """The key that signs this hospital's answers to vendors: what they give as --hospital-key, told on another way.

    It comes from the key service and stays the same over restarts, restores and rotations. Exit codes: 0, 2 no node.

    Example: twinward similarity key
    """
    with node_at(home, as_json=as_json) as node:
        shown = node.cohort.signer.key
        if as_json:
            show_json({"hospital": node.settings.hospital, "key": shown})
        else:
            out.print(shown)


def plan(
    records: Annotated[int, typer.Option("--records", "-n", min=1, help="Patients in the cohort.")],
    features: Annotated[int, typer.Option("--features", "-d", min=1, help="Features of the schema.")],
    levels: Annotated[int, typer.Option(min=2, help="Quantisation levels of a feature.")] = 128,
    max_weight: Annotated[int, typer.Option(min=1, help="The largest weight a query may give a feature.")] = 1,
    noise: Annotated[int, typer.Option(min=1, help="Width of the noise added to distances; 1 adds none.")] = 1,
    latency: Annotated[
        float | None, typer.Option(help="Seconds one core may take for a query.", show_default="none")
    ] = None,
    upload: Annotated[float | None, typer.Option(help="kB a query may have.", show_default="none")] = None,
    download: Annotated[float | None, typer.Option(help="kB an answer may have.", show_default="none")] = None,
    circuit_private: Annotated[
        bool, typer.Option("--circuit-private", help="Only rings that drown what ciphertext noise tells.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Pick the ring and the grouping for vendor-key queries, and say why.

    Every ring that carries the schema exactly is tried with every grouping, measured on this machine. A schema whose
    distances would overflow is refused, naming what to make smaller. Exit codes: 0, 1 nothing keeps these limits.

    Examples:

    `twinward similarity plan --records 100000 --features 32`

    `twinward similarity plan -n 5000 -d 16 --circuit-private --upload 400 --latency 0.5`
    """
    with errors_taught(as_json=as_json):
        from twinward_crypto.homomorphic.planner import UNLIMITED, Demand, choose

        choice = choose(
            Demand(
                rows=records,
                dimension=features,
                levels=levels,
                max_weight=max_weight,
                weighted=max_weight > 1,
                noise_width=noise,
                circuit_private=circuit_private,
                latency=float("inf") if latency is None else latency,
                upload=UNLIMITED if upload is None else int(upload * 1000),
                download=UNLIMITED if download is None else int(download * 1000),
            )
        )
        if as_json:
            show_json(_as_json(choice))
        else:
            _show(choice)


def _as_json(choice: Choice) -> dict[str, object]:
    considered = [
        {
            "profile": cost.made.profile.name,
            "grouping": cost.made.grouping,
            "seconds": cost.seconds,
            "upload_bytes": cost.upload,
            "download_bytes": cost.download,
        }
        for cost in choice.considered
    ]
    chosen = choice.cost.made
    return {
        "profile": chosen.profile.name,
        "grouping": chosen.grouping,
        "why": choice.why,
        "considered": considered,
    }


def _show(choice: Choice) -> None:
    shown = Table(title="what was measured, fewest bytes first")
    for heading in ("ring", "grouping", "up (kB)", "down (kB)", "seconds, one core"):
        shown.add_column(heading, justify="left" if heading == "ring" else "right")
    for cost in choice.considered:
        mark = "→ " if cost is choice.cost else "  "
        shown.add_row(
            mark + cost.made.profile.name,
            str(cost.made.grouping),
            f"{cost.upload / 1000:,.0f}",
            f"{cost.download / 1000:,.0f}",
            f"{cost.seconds:.3g}",
            style="bold" if cost is choice.cost else "",
        )
    out.print(shown)
    for reason in choice.why:
        out.print(f"  · {reason}", markup=False)
    chosen = choice.cost.made
    out.print(
        f'To answer so: vendor_key_profile = "{chosen.profile.name}", vendor_key_grouping = {chosen.grouping} '
        "in twinward.toml.",
        markup=False,
    )


def rebuild_history(
    account: AsOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be closed; change nothing.")] = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin the release history anew where releases.sealed is lost, altered or older than the log.

    First look for the newest file: on the crashed machine's disk, or in the backup the log came from. Without it, each
    vendor is told nothing more about patients the log says it may have been told of; about others, as ever. The log
    is verified first, as by `twinward audit verify --deep`, and names what was lost. Stop the server before.

    Exit codes: 0, 1 you said no, 2 nobody to ask and no --yes, 3 no such account, 4 the history is sound or the node
    is being served, 6 the account is no officer's (also logged), 8 the log does not verify.

    Examples:

    `twinward similarity rebuild-history --as olga --dry-run`

    `twinward similarity rebuild-history --as olga --yes`
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.history_rebuilding import plan_of, rebuild

        plan = plan_of(node, audit_permit(node, account, "release history"))
        closed = {vendor: len(twins) for vendor, twins in plan.closed.items()}
        lost = None if plan.lost is None else {"changes": plan.lost.changes, "head": plan.lost.mac.hex()}
        if not as_json:
            say(f"refused: {plan.fault}")
            for vendor, patients in closed.items():
                say(f"{vendor}: nothing more is told about {counted(patients, 'patient', 'patients')}")
            say("about anybody else, and to vendors that were told of nobody, as ever")
        if not dry_run:
            confirm("Begin the release history anew? Should the lost file be found later, it is refused.", yes=yes)
            context = context_of(node, account, Purpose.COMPLIANCE)
            rebuild(node, plan, context.request(Action.AUDIT, detail=plan.detail))
        if as_json:
            show_json({"fault": plan.fault, "lost": lost, "closed": closed, "done": not dry_run})
        elif not dry_run:
            say("the release history is begun anew; start the server again")


def refresh(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Take a new snapshot of consenting patients within the running epoch: who consented since joins, values are new.

    Every process, a served node too, takes it with its next question. Handles, keys and allowances stay; vendors see
    its age in the terms. While the cohort is frozen nobody joins. Logged.

    Exit codes: 0, 3 no such account, 6 the account is no officer's (also logged).

    Example: twinward similarity refresh --as olga
    """
    _decide_life(home, account, "refresh", as_json=as_json)


def freeze(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let nobody join the cohort until it is thawed, over restarts and epochs: vendors' answers stay comparable.

    Whoever withdraws or is erased leaves at once all the same. Vendors see it in the terms. Logged.

    Exit codes: 0, 3 no such account, 4 it is frozen already, 6 the account is no officer's (also logged).

    Example: twinward similarity freeze --as olga
    """
    _decide_life(home, account, "freeze", as_json=as_json)


def thaw(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let patients join the cohort again, with a new snapshot. Logged.

    Exit codes: 0, 3 no such account, 4 it is not frozen, 6 the account is no officer's (also logged).

    Example: twinward similarity thaw --as olga
    """
    _decide_life(home, account, "thaw", as_json=as_json)


def _decide_life(home: Path | None, account: str, step: str, *, as_json: bool) -> None:
    """Log the decision, then take it: what was not logged does not happen."""
    with node_at(home, as_json=as_json) as node:
        life = node.cohort.life
        context = context_of(node, account, Purpose.COMPLIANCE)
        node.access.decide(context.request(Action.AUDIT, detail=(("similarity", step),)))
        if step == "freeze":
            state = life.freeze(node.clock.now_ms())
        else:
            state = life.thaw() if step == "thaw" else life.refresh()
        if as_json:
            show_json({"refreshes": state.refreshes, "frozen_since_ms": state.frozen_since_ms or None})
        else:
            say(_LIFE_SAID[step])


_LIFE_SAID = {
    "refresh": "the next question takes a new snapshot",
    "freeze": "nobody joins the cohort until `twinward similarity thaw`; whoever withdraws leaves at once",
    "thaw": "whoever consents joins again, with the next question",
}
