"""``twinward access``: what policy and consent would say, without touching anything."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from twinward.cli import emergencies
from twinward.cli.opening import node_at
from twinward.cli.screen import HomeOption, JsonOption, out, show_json
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId

app = typer.Typer(help="Explain decisions of policy and consent; review emergencies.", no_args_is_help=True)


@app.callback()
def _access() -> None:
    """Explain decisions of policy and consent; review emergencies."""


app.command("emergencies")(emergencies.emergencies)
app.command("review")(emergencies.review)
app.command("allow")(emergencies.allow)


@app.command()
def check(
    role: Annotated[Role, typer.Option(help="The role that would ask.")],
    action: Annotated[Action, typer.Option(help="What it would do.")],
    purpose: Annotated[Purpose, typer.Option(help="Why, as an HL7 v3 ActReason code.")] = Purpose.TREATMENT,
    twin: Annotated[str | None, typer.Option(help="Whose twin; without one, nobody's consent is looked at.")] = None,
    category: Annotated[list[Category] | None, typer.Option(help="What it would touch; may be repeated.")] = None,
    principal: Annotated[str, typer.Option(help="The account that would ask.")] = "somebody",
    justification: Annotated[str, typer.Option(help="Why an emergency is one.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Dry-run one decision and explain it. Nothing is logged and nothing can be opened with the answer.

    Exit codes: 0 it would be permitted, 6 it would be refused, 3 no node in the home.

    Example: twinward access check --role vendor --action query --purpose CLINTRCH
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.interfaces import AccessRequest, Principal

        asked = frozenset(category or ())
        subject = TwinId(twin) if twin else None
        request = AccessRequest(Principal(principal, role), action, purpose, subject, asked, justification)
        decision = node.access.check(request)
        if as_json:
            show_json(
                {
                    "permitted": decision.permitted,
                    "reason": decision.reason,
                    "consent_version": decision.consent_version,
                    "policy_sha256": decision.policy_hash,
                }
            )
        else:
            verdict = "[green]permitted[/]" if decision.permitted else "[red]refused[/]"
            out.print(f"{verdict}: {escape(decision.reason)}", soft_wrap=True)
            out.print(
                f"[dim]policy {decision.policy_hash[:16]}…, consent version {decision.consent_version or 'none'}[/]"
            )
        raise typer.Exit(0 if decision.permitted else 6)
