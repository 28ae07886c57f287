"""``twinward live connect``: a ward's HL7 or MQTT, followed until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from twinward.cli.context import AsOption, context_of, node_at
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, say, tell
from twinward.cli.until_stopped import until_stopped
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from datetime import tzinfo

    from twinward.access.interfaces import AccessContext
    from twinward.node import Node

_FILE = {"exists": False, "dir_okay": False}


def connect(
    url: Annotated[str, typer.Argument(help="mllp://127.0.0.1:2575 to listen; mqtts://broker:8883 to follow.")],
    account: AsOption,
    source: Annotated[str, typer.Option("--source", help="What the sender is called here.")],
    topic: Annotated[str, typer.Option("--topic", help="MQTT: what to follow; what stands for + names a source.")] = "",
    authority: Annotated[
        list[str] | None,
        typer.Option("--authority", help="HL7: whose patient numbers are taken, NAME=URI; =URI where none is named."),
    ] = None,
    visits: Annotated[str, typer.Option("--visits", help="HL7: URI of visit numbers that name no authority.")] = "",
    zone: Annotated[str, typer.Option("--zone", help="HL7: of times without offset, e.g. Europe/Berlin.")] = "",
    ca: Annotated[Path | None, typer.Option("--ca", help="Who signs the other side's certificate, PEM.")] = None,
    cert: Annotated[Path | None, typer.Option("--cert", help="Our certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Its key, PEM.")] = None,
    user: Annotated[str, typer.Option("--user", help="MQTT: as whom the broker knows us.")] = "",
    password_file: Annotated[Path | None, typer.Option("--password-file", help="MQTT: its password.")] = None,
    home: HomeOption = None,
) -> None:
    """Take readings from a ward's own systems until stopped: HL7 v2 over MLLP, or MQTT 5. Runs beside a served node.

    HL7: ORU become readings; ADT (A01 A02 A03 A04 A08 A40) patients and visits; ORM orders. Each message is answered
    AA once it is durable, or AE or AR with the field that is wrong. MQTT: messages of NDJSON lines, as
    `POST /api/1/readings` takes them, acknowledged once they are durable.

    Exit codes: 0 stopped, 2 a URL, file, zone or authority that cannot be, 3 no such account, 6 the account may not
    write records, 7 the port is taken, or the broker lets nobody in who comes like this.

    Example: twinward live connect mllp://127.0.0.1:2575 --as hl7-gateway --source lab --authority STMARY=https://stmary.example/mrn
    """
    with node_at(home, as_json=False) as node:
        context = context_of(node, account, Purpose.RECORD_MANAGEMENT)
        if urlsplit(url).scheme == "mllp":
            if topic or user or password_file:
                raise BadInput("--topic, --user and --password-file are MQTT's")
            _listen(node, context, url, source, _named(authority or []), visits, zone, (cert, key, ca))
        else:
            if authority or visits or zone:
                raise BadInput("--authority, --visits and --zone are HL7's")
            password = read_input(password_file).decode("utf-8", "replace").rstrip("\r\n") if password_file else ""
            _follow(node, context, url, topic, source, (ca, cert, key), (user, password))


def _listen(
    node: Node,
    context: AccessContext,
    url: str,
    source: str,
    authorities: dict[str, str],
    visits: str,
    zone: str,
    files: tuple[Path | None, Path | None, Path | None],
) -> None:
    from twinward.live.hl7.desk import Hl7Source
    from twinward.live.hl7.listener import Certificates, MllpListener
    from twinward.live.hl7.people import authorities_of
    from twinward.live.intake.lines import require_name
    from twinward.node.hl7 import hl7_desk

    host, port = _address(url)
    cert, key, ca = files
    certificates = Certificates(cert, key, ca) if cert and key and ca else None
    if certificates is None and (cert or key or ca):
        raise BadInput("TLS wants --cert, --key and --ca together")
    require_name(source, "source")
    node.live.intake.require(context)
    sender = Hl7Source(source, authorities_of(authorities, visits), _zone(zone))
    listener = MllpListener(host, port, hl7_desk(node, context, sender), certificates)
    say(f"listening on {host}:{listener.port}; Ctrl-C stops")
    with until_stopped() as is_stopped:
        listener.serve(is_stopped)


def _follow(
    node: Node,
    context: AccessContext,
    url: str,
    topic: str,
    source: str,
    files: tuple[Path | None, Path | None, Path | None],
    sign_in: tuple[str, str],
) -> None:
    from twinward.live.mqtt.broker import broker_at, topic_of
    from twinward.live.mqtt.subscriber import Subscriber

    ca, cert, key = files
    broker = broker_at(url, authority=ca, certificate=cert, key=key, user=sign_in[0], password=sign_in[1])
    subscriber = Subscriber(node.live, context, broker, topic_of(topic, source), tell)
    with until_stopped() as is_stopped:
        subscriber.follow(is_stopped)
    done = subscriber.tally
    say(f"{done.stored} stored, {done.quarantined} quarantined, {done.duplicates} duplicate, {done.refused} refused")


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port is None or parts.path not in ("", "/") or parts.query:
        raise BadInput("where to listen is mllp://host:port", hint="e.g. mllp://127.0.0.1:2575")
    return host, port


def _named(pairs: list[str]) -> dict[str, str]:
    found = {}
    for one in pairs:
        name, equals, uri = one.partition("=")
        if not equals or not uri:
            raise BadInput("an authority is NAME=URI", hint="e.g. --authority STMARY=https://stmary.example/mrn")
        found[name] = uri
    return found


def _zone(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput("no such time zone", hint="as the IANA names them, e.g. Europe/Berlin") from None
