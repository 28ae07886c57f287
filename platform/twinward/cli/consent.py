"""``twinward consent``: what a patient consented to, what it comes to, and the same as a FHIR Consent, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twinward.cli.context import AsOption, audit_permit, await_server, context_of, node_at, twin_of
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, say, show_json
from twinward.core.vocabulary import Action, Purpose

TwinArgument = Annotated[str, typer.Argument(help="A twin's opaque id, as `twinward twin list` prints it.")]
MAX_CONSENT_BYTES = 64 * 1024


def show(
    twin: TwinArgument,
    account: AsOption,
    fhir: Annotated[bool, typer.Option("--fhir", help="The newest version as a FHIR R4 Consent.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every version of a patient's consent in sentences, who recorded it and when, and what the newest comes to now.

    What it comes to is asked of policy and consent as they decide at this moment, as `access check` asks: nothing is
    opened. Exit codes: 0, 3 no such twin or account, 6 this account may not, 8 the consents were altered.

    Example: twinward consent show 0198… --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.overview.consents import check_effects, provision_sentence, recorded_by

        whose = twin_of(node, twin)
        node.access.decide(context_of(node, account, Purpose.COMPLIANCE).request(Action.CONSENT, whose))
        kept = node.consents.kept(whose)
        if fhir:
            from twinward.access.consent import NO_CONSENT
            from twinward.fhir.mapping.consents import consent_resource

            newest, at_ms = (kept[0].consent, kept[0].at_ms) if kept else (NO_CONSENT, node.clock.now_ms())
            show_json(consent_resource(newest, whose, at_ms))
            return
        by = recorded_by(node, audit_permit(node, account, "consents", whose), whose) if kept else {}
        effects = check_effects(node, whose)
        versions = [
            {
                "version": one.consent.version,
                "at_ms": one.at_ms,
                "by": by.get(one.consent.version, "the node"),
                "says": [provision_sentence(each) for each in one.consent.provisions],
            }
            for one in kept
        ]
        if as_json:
            told = [{"who": one.who, "permitted": one.permitted, "refused": one.refused} for one in effects]
            show_json({"twin": whose, "versions": versions, "effects": told})
            return
        _print(versions, [(one.who, one.permitted) for one in effects])


def set_(
    twin: TwinArgument,
    file: Annotated[Path, typer.Argument(help="A FHIR R4 Consent in JSON; '-' reads it.")],
    account: AsOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it says; set nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a patient's consent from a FHIR Consent: whole, or refused with the element that cannot be kept.

    It is in force at the next decision, in every process. `twinward twin consent --file` sets the same rules in this
    program's own JSON. Exit codes: 0, 2 no Consent that could be in force, 3 no such twin or account, 6 this account
    may not.

    Example: twinward consent set 0198… consent.json --as olga --dry-run
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.errors import ConsentInvalid
        from twinward.core import small_json
        from twinward.fhir.mapping.consents import provisions_of
        from twinward.overview.consents import provision_sentence

        context, whose = context_of(node, account, Purpose.RECORD_MANAGEMENT), twin_of(node, twin)
        tree = small_json.decode(read_input(file, most=MAX_CONSENT_BYTES))
        if not isinstance(tree, dict):
            raise ConsentInvalid("this is no FHIR Consent", hint="a JSON object of the resourceType Consent")
        provisions = provisions_of(tree, whose)
        version = None
        if not dry_run:
            version = node.access.set_consent(context, whose, provisions).version
            await_server(node)
        says = [provision_sentence(one) for one in provisions]
        if as_json:
            show_json({"twin": whose, "version": version, "says": says})
            return
        say("nothing was set; it would say" if dry_run else f"version {version} is in force; it")
        for one in says or ["says nothing: vendors and studies get nothing, care goes on"]:
            say(f"  {one}")


def _print(versions: list[dict[str, Any]], effects: list[tuple[str, tuple[str, ...]]]) -> None:
    from twinward.core.clock import iso

    if not versions:
        say("no consent: policy decides what that means, and for vendors and studies it means no")
    for one in versions:
        say(f"version {one['version']}, by {one['by']} at {iso(one['at_ms'])[:16].replace('T', ' ')} UTC; it")
        for said in one["says"] or ["says nothing"]:
            say(f"  {said}")
    for who, permitted in effects:
        say(f"now {who} may have: {', '.join(permitted) or 'nothing'}")
