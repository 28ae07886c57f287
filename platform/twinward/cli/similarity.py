"""``twinward similarity``: what a hospital decides before it answers vendors' encrypted queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from twinward.cli.history import rebuild_history
from twinward.cli.opening import node_at
from twinward.cli.screen import HomeOption, JsonOption, errors_taught, out, show_json

if TYPE_CHECKING:
    from twinward_crypto.homomorphic.planner import Choice

app = typer.Typer(help="Encrypted similarity queries, as the hospital sets them up.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group of its own, however few its commands."""


app.command("rebuild-history")(rebuild_history)


@app.command("key")
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


@app.command("plan")
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
