"""``twinward vendor statement`` and ``check-statement``: one answer, signed, for whoever has to check it later."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input, read_secret_input
from twinward.cli.output import JsonOption, OutputFile, say, show_json
from twinward.cli.vendor.answers import one_line
from twinward.cli.vendor.query import (
    ByAddressOption,
    KeyOption,
    KnownOption,
    PlainOption,
    TokenOption,
    UrlArgument,
    client_of,
)
from twinward.core.errors import BadInput


def statement(
    url: UrlArgument,
    query_id: Annotated[str, typer.Option("--query-id", help="Of the query, as its answer names it.")],
    out: Annotated[Path, typer.Option("--out", help='Where the statement goes; "-" prints it.')],
    token_file: TokenOption = None,
    tokens: ByAddressOption = None,
    hospital_key: KeyOption = None,
    known_hospitals: KnownOption = None,
    plain_http: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take one answer of the running epoch along, as the hospital signed it. It costs nothing.

    Exit codes: 0, 3 no such answer in this epoch, 5 no token, 6 the hospital refuses, 7 it does not answer.

    Example: twinward vendor statement https://twinward.st-anna.example --query-id 3f1c9a5be0d24c7791aa60f2f1f0c8d4
    --out st-anna.statement
    """
    with (
        errors_taught(as_json=as_json),
        client_of(url, token_file, tokens, hospital_key, known_hospitals, plain_http=plain_http) as client,
    ):
        target = OutputFile(out, as_json=as_json)
        found = client.statement(query_id)
        target.write(found.encode())
        checked = found.check()
        target.report(asdict(checked), f"{one_line(checked.hospital)}: {checked.said}; signed by {checked.key}")


def check_statement(
    file: Annotated[Path, typer.Argument(help='The statement; "-" reads it.')],
    hospital_key: Annotated[
        str | None,
        typer.Option("--hospital-key", help="The hospital's key for answers as hex, told by itself on another way."),
    ] = None,
    count: Annotated[
        Path | None, typer.Option("--count", help="A kept count that it must answer: `vendor feasibility --keep`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a signed statement, without a network: whose it is, to whom, about what, and that nothing was altered.

    Without --hospital-key it is checked against the key that stands in it: then somebody else must say whose that is.
    It does not say that the answer is right.

    Exit codes: 0 it holds, 2 no statement, 7 forged or altered, or another hospital's.

    Example: twinward vendor check-statement st-anna.statement --hospital-key 4c0d…
    """
    with errors_taught(as_json=as_json):
        from twinward.client.contacts import MAX_FILE_BYTES as MOST_KEPT
        from twinward.client.contacts import KeptCount
        from twinward.client.signed_files import MAX_FILE_BYTES
        from twinward.client.statements import Statement

        if hospital_key is not None and (len(hospital_key) != 64 or set(hospital_key) - set("0123456789abcdef")):
            raise BadInput(
                "a hospital's key is 64 hexadecimal digits", hint="`twinward similarity key` prints it there"
            )
        kept = None
        if count is not None:
            kept = KeptCount.decode(read_secret_input(count, "the kept count", most=MOST_KEPT))
        checked = Statement.decode(read_input(file, most=MAX_FILE_BYTES)).check(hospital_key, kept)
        if as_json:
            show_json(asdict(checked) | {"key_given": hospital_key is not None})
            return
        say(
            f"{one_line(checked.hospital)} answered {one_line(checked.vendor)} in epoch {checked.epoch}: {checked.said}"
        )
        say(f"  {checked.kind.value} query {checked.query_id}, SHA-256 {checked.query}")
        given = "as given" if hospital_key is not None else "its own word: compare it with what the hospital says"
        say(f"  signed by {checked.key} ({given})")
