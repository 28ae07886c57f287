"""``twinward thing``: devices, beds, wards, hospitals and stock, and how they stand to each other and to patients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, context_of, node_at, twin_of
from twinward.cli.output import HomeOption, JsonOption, counted, say, show_json, show_table, table
from twinward.core.clock import instant_ms, iso
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.access.interfaces import AccessContext
    from twinward.node import Node
    from twinward.things.maintenance import Service
    from twinward.things.models import Happening, Related, Relation, Thing
    from twinward.things.wards import WardState

NameArgument = Annotated[str, typer.Argument(help="What the thing is called: 1 to 64 of A-Z a-z 0-9 . _ : -")]
RelationArgument = Annotated[str, typer.Argument(help="assigned-to, located-in or part-of.")]


def add(
    name: NameArgument,
    kind: Annotated[str, typer.Option(help="device, bed, ward, hospital or stock.")],
    account: AsOption,
    title: Annotated[str, typer.Option(help="For people; says nothing of patients.", show_default="its name")] = "",
    type_: Annotated[
        str,
        typer.Option("--type", help="ventilator, pump, monitor, other; supply, medication, vaccine, blood."),
    ] = "",
    service_hours: Annotated[int, typer.Option(min=0, help="Serviced after so many hours of use.")] = 0,
    service_days: Annotated[int, typer.Option(min=0, help="Serviced after so many days.")] = 0,
    unit: Annotated[str, typer.Option(help="What stock is counted in.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a thing: a device, a bed, a ward, a hospital, or stock.

    Exit codes: 0 added, 2 it cannot be, 3 no such account, 4 the name is in use, 6 the account may not file records.

    Example: twinward thing add ventilator-7 --kind device --type ventilator --service-hours 500 --as ward-system
    """
    with node_and_context(home, account, as_json=as_json) as (node, context):
        from twinward.things.service import New

        new = New(name, kind_of(kind), title or name, type_, service_hours, service_days, unit)
        made = node.things.add(context, new)
        show_json(shown(made)) if as_json else say(f"{made.name} is a {made.kind}")


def list_(
    account: AsOption,
    kind: Annotated[str, typer.Option(help="Of this kind only.", show_default="all")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List things. Logged.

    Exit codes: 0, 2 no such kind, 3 no such account, 6 the account may neither file records nor read the log.

    Example: twinward thing list --kind device --as ward-system
    """
    with node_and_context(home, account, as_json=as_json) as (node, context):
        found = node.things.all(context, kind_of(kind) if kind else None)
        if as_json:
            show_json({"things": [shown(one) for one in found]})
            return
        made = table("name", "kind", "type", "title")
        for one in found:
            made.add_row(one.name, one.kind, one.type, one.title)
        show_table(made)
        say(counted(len(found), "thing", "things"))


def relate(
    name: NameArgument,
    relation: RelationArgument,
    target: Annotated[str, typer.Argument(help="Another thing's name; for assigned-to, a patient's twin.")],
    account: AsOption,
    since: Annotated[str, typer.Option("--from", help="RFC 3339, e.g. 2026-01-31T08:30:00Z.", show_default="now")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how a thing stands to another, or with which patient it is, from now or a moment on.

    With a patient it is an access to that patient's records: policy and consent decide, and both histories tell of it.

    Exit codes: 0 noted, 2 things of these kinds do not stand so, 3 no such thing, twin or account, 4 it stands so to
    another, or the bed is taken, 6 policy or consent says no.

    Example: twinward thing relate bed-3 part-of icu --as ward-system
    """
    with node_and_context(home, account, as_json=as_json) as (node, context):
        how = relation_of(relation)
        if how.value == "assigned-to":
            target = twin_of(node, target)
        related = node.things.relations.relate(context, name, how, target, instant_ms(since) if since else None)
        show_json(shown_relation(related)) if as_json else say(_sentence(related))


def end(
    name: NameArgument,
    relation: RelationArgument,
    account: AsOption,
    until: Annotated[str, typer.Option("--until", help="RFC 3339.", show_default="now")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a thing stands so no longer, since now or a moment.

    Exit codes: 0 noted, 2 no such relation or time, 3 no such thing or account, 4 it does not stand so, 6 policy or
    consent says no.

    Example: twinward thing end bed-3 assigned-to --as ward-system
    """
    with node_and_context(home, account, as_json=as_json) as (node, context):
        ended = node.things.relations.end(context, name, relation_of(relation), instant_ms(until) if until else None)
        show_json(shown_relation(ended)) if as_json else say(_sentence(ended))


def show(name: NameArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a thing as it stands: what it is, where, with whom, what is in it. Logged.

    Exit codes: 0, 3 no such thing or account, 6 the account may neither file records nor read the log.

    Example: twinward thing show icu --as ward-system
    """
    with node_and_context(home, account, as_json=as_json) as (node, context):
        found = node.things.show(context, name)
        if as_json:
            relations = [shown_relation(one) for one in found.relations]
            about = shown(found.thing) | {"relations": relations, "contains": [one.thing for one in found.contains]}
            show_json(about | {"properties": found.properties()})
            return
        thing = found.thing
        say(f"{thing.name}: {thing.title}, a {thing.kind}" + (f" ({thing.type})" if thing.type else ""))
        for one in found.relations:
            say(_sentence(one))
        if found.contains:
            say("in it: " + ", ".join(sorted(one.thing for one in found.contains)))
        if found.service is not None:
            say(_maintenance(found.service))
        if found.state is not None:
            _show_state(found.state)


def describe(name: NameArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print a thing's W3C WoT Thing Description 1.1, as JSON: what it is and how it is asked, nothing of patients.

    Exit codes: 0, 3 no such thing or account, 6 the account may neither file records nor read the log.

    Example: twinward thing describe ventilator-7 --as ward-system
    """
    with node_and_context(home, account, as_json=as_json) as (node, context):
        base = node.settings.public_url or f"http://localhost:{node.settings.listen_port}"
        show_json(node.things.describe(context, name, base))


def record(
    name: NameArgument,
    what: Annotated[str, typer.Argument(help="started, stopped, used, filled, fault or serviced.")],
    account: AsOption,
    twin: Annotated[str, typer.Option("--for", help="The patient that stock is used for: an opaque twin.")] = "",
    amount: Annotated[int, typer.Option(help="Of stock, in its unit.")] = 0,
    note: Annotated[str, typer.Option(help="A few words, of a fault say; nothing of a patient.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note that something happened to a thing, now: a pump was started, stock was used, a device is broken.

    With a patient it is an access to that patient's records: policy and consent decide, and both histories tell of it.

    Exit codes: 0 noted, 2 an amount or a note that cannot be, 3 no such thing, twin or account, or nothing of the kind
    happens to it, 4 it runs already, is with nobody, or there is not so much, 6 policy or consent says no.

    Example: twinward thing record saline used --for 0198a1b2-… --amount 2 --as ward-system
    """
    with node_and_context(home, account, as_json=as_json) as (node, context):
        from twinward.things.interactions import Report

        report = Report(what_of(what), twin_of(node, twin) if twin else None, amount, note)
        one = node.things.interactions.record(context, name, report)
        show_json(shown_happening(one)) if as_json else say(_told(one))


def history(name: NameArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all that a thing was and that happened to it: opaque twins, no patient's name. Logged.

    Exit codes: 0, 3 no such thing or account, 6 the account may not file records.

    Example: twinward thing history ventilator-7 --as ward-system
    """
    with node_and_context(home, account, as_json=as_json) as (node, context):
        from twinward.things.models import Related

        found = node.things.history(context, name)
        if as_json:
            show_json({"history": [shown_relation(o) if isinstance(o, Related) else shown_happening(o) for o in found]})
            return
        made = table("time", "what", "by")
        for one in found:
            if isinstance(one, Related):
                until = "" if one.until_ms is None else f", until {iso(one.until_ms)}"
                made.add_row(iso(one.from_ms), f"{one.relation} {one.target}{until}", one.by)
            else:
                made.add_row(iso(one.at_ms), _told(one), one.by)
        show_table(made)


@contextmanager
def node_and_context(home: Path | None, account: str, *, as_json: bool) -> Iterator[tuple[Node, AccessContext]]:
    """The node, and who asks, for the purpose that is usual for them."""
    with node_at(home, as_json=as_json) as node:
        from twinward.things.service import usual_purpose

        context = context_of(node, account, Purpose.RECORD_MANAGEMENT)
        yield node, context_of(node, account, usual_purpose(context.principal))


def kind_of(text: str) -> Any:
    """A kind by its word. Raises ``BadInput``."""
    from twinward.things.models import Kind

    return _word(Kind, text)


def relation_of(text: str) -> Relation:
    """A relation by its word. Raises ``BadInput``."""
    from twinward.things.models import Relation

    found: Relation = _word(Relation, text)
    return found


def what_of(text: str) -> Any:
    """A happening by its word. Raises ``BadInput``."""
    from twinward.things.models import What

    return _word(What, text)


def _word(words: Any, text: str) -> Any:
    from twinward.core.errors import BadInput

    try:
        return words(text)
    except ValueError:
        raise BadInput(f"there is no such {words.__name__.lower()}", hint=f"one of {', '.join(words)}") from None


def shown(thing: Thing) -> dict[str, Any]:
    """A thing as JSON."""
    about: dict[str, Any] = {
        "name": thing.name,
        "kind": thing.kind,
        "title": thing.title,
        "type": thing.type,
        "id": thing.id,
    }
    if thing.kind == "stock":
        about |= {"level": thing.level, "unit": thing.unit}
    return about


def shown_relation(one: Related) -> dict[str, Any]:
    """A relation as JSON."""
    until = None if one.until_ms is None else iso(one.until_ms)
    about = {"thing": one.thing, "relation": one.relation, "target": one.target}
    return about | {"from": iso(one.from_ms), "until": until, "by": one.by}


def shown_happening(one: Happening) -> dict[str, Any]:
    """A happening as JSON."""
    about = {"thing": one.thing, "what": one.what, "at": iso(one.at_ms), "by": one.by, "twin": one.twin}
    return about | {"amount": one.amount or None, "note": one.note or None}


def _sentence(one: Related) -> str:
    until = "" if one.until_ms is None else f" until {iso(one.until_ms)}"
    return f"{one.thing} is {one.relation} {one.target} from {iso(one.from_ms)}{until}"


def _told(one: Happening) -> str:
    parts = [one.what.value]
    parts += [str(one.amount)] if one.amount else []
    parts += [f"for {one.twin}"] if one.twin else []
    return " ".join(parts) + (f": {one.note}" if one.note else "")


def _maintenance(service: Service) -> str:
    used = "" if service.used_h is None else f"{service.used_h:.1f} hours of use since the last service; "
    if service.due_ms is None:
        return f"{used}no service is due"
    broken = f", {counted(service.faults, 'fault', 'faults')}" if service.faults else ""
    return f"{used}service due {iso(service.due_ms)} ({service.reason}{broken})"


def _show_state(state: WardState) -> None:
    say(f"{state.beds} beds: {state.census} with a patient, {state.free} free")
    say(f"{state.devices} devices: {state.in_use} with a patient")
    if state.acuity is not None:
        say("NEWS2: " + ", ".join(f"{count} {band}" for band, count in state.acuity.items() if count))
    say("due for service: " + (", ".join(state.due) or "nothing"))
    if state.lying:
        made = table("bed", "twin", "since", "NEWS2")
        for one in state.lying:
            made.add_row(one.bed, one.twin, iso(one.since_ms), "" if one.score is None else str(one.score))
        show_table(made)
