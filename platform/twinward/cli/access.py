"""``twinward access``: what policy and consent would say, without touching anything."""

from __future__ import annotations

from typing import Annotated

import typer

from twinward.cli.screen import HomeOption, JsonOption, errors_taught, out, show_json
from twinward.vocabulary import Action, Category, Purpose, Role, TwinId

app = typer.Typer(help="Explain decisions of policy and consent.", no_args_is_help=True)


@app.callback()
def _access() -> None:
    """Explain decisions of policy and consent."""


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

    Example: twinward access check --role vendor --action query --purpose CLINTRCH
    """
    from twinward.access.interfaces import AccessRequest, Principal
    from twinward.node import open_node

    with errors_taught(as_json=as_json), open_node(home) as node:
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
            out.print(f"{verdict}: {decision.reason}")
            out.print(
                f"[dim]policy {decision.policy_hash[:16]}…, consent version {decision.consent_version or 'none'}[/]"
            )
        raise typer.Exit(0 if decision.permitted else 6)
