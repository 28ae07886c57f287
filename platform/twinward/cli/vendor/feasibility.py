"""``twinward vendor feasibility``: how many patients would be eligible, under criteria that the hospital never sees."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import confirm, read_input
from twinward.cli.output import JsonOption, YesOption, progress, say, show_json, tell
from twinward.cli.vendor.answers import one_line
from twinward.cli.vendor.contact import write_kept
from twinward.cli.vendor.query import (
    ByAddressOption,
    KeysOption,
    KnownOption,
    PlainOption,
    TokensOption,
    clients_of,
)
from twinward.cli.vendor.questions import token_for_each
from twinward.core.errors import BadInput, TwinwardError

if TYPE_CHECKING:
    from twinward.client import Counts, Criteria, PreparedCount, VendorClient


def feasibility(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="The hospitals' addresses, one or several.")],
    criteria: Annotated[
        Path, typer.Option(help='The criteria, a TOML file; "-" reads it. The page on similarity shows one.')
    ],
    epsilon: Annotated[
        float | None, typer.Option(help="What the count costs each patient's privacy, and you. [the hospital's first]")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Keep criteria and key here, for `twinward vendor contact`: whoever has the file reads what you asked."
        ),
    ] = None,
    yes: YesOption = False,
    token_file: TokensOption = None,
    tokens: ByAddressOption = None,
    same_token: Annotated[
        bool, typer.Option("--same-token", help="Send one token to all of several hospitals.")
    ] = False,
    hospital_key: KeysOption = None,
    known_hospitals: KnownOption = None,
    plain_http: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """How many patients would be eligible? The hospital sees nothing of the criteria; you get a count with noise.

    Before anything is sent it says how each criterion is counted, the error to expect, what is charged, how many bytes
    travel and how long it takes, and asks. Several hospitals are asked side by side, and their counts are summed.

    Exit codes: 0, 1 you said no, 2 criteria that cannot be counted, 5 no token, 6 refused or no epsilon left, 7 no
    answer from any.

    Example: twinward vendor feasibility https://twinward.st-anna.example --criteria trial.toml
    """
    with errors_taught(as_json=as_json), contextlib.ExitStack() as stack:
        if keep is not None and len(urls) > 1:
            raise BadInput("--keep is for a count at one hospital", hint="ask the others by a command of their own")
        from twinward.client.multi import prepare_counts

        wanted = _read(criteria)
        each = token_for_each(token_file or [], urls, tokens, same_token=same_token)
        clients = clients_of(stack, urls, each, hospital_key, known_hospitals, plain_http=plain_http)
        prepared = prepare_counts(clients, wanted, epsilon)
        ready = {name: one for name, one in prepared.items() if not isinstance(one, TwinwardError)}
        if not ready:
            raise next(one for one in prepared.values() if isinstance(one, TwinwardError))
        _announce(ready)
        confirm("Send the question? It is charged at each hospital.", yes=yes)
        if keep is not None:  # before it is sent: what was paid for and not kept could be disclosed to nobody
            write_kept(keep, *ready.values())
        counts = _counted(clients, prepared)
        if as_json:
            show_json(_shown(counts))
        else:
            _print(counts)


def _read(file: Path) -> Criteria:
    from twinward.protocol.criteria import MAX_FILE_BYTES, Criteria

    try:
        return Criteria.read(read_input(file, most=MAX_FILE_BYTES).decode())
    except UnicodeDecodeError:
        raise BadInput("the criteria are not UTF-8") from None


def _announce(ready: dict[str, PreparedCount]) -> None:
    for line in dict.fromkeys(line for one in ready.values() for line in one.reading):
        tell(f"counted as: {one_line(line)}")
    for name, one in ready.items():
        tell(
            f"to {one_line(one.hospital)} ({name}): off by at most {one.half_width} with 95 % probability; costs "
            f"epsilon {one.epsilon:g} of {one.epsilon_left:g} left; {one.upload_bytes:,} bytes up, "
            f"{one.download_bytes:,} down; about {one.hospital_seconds} s there"
        )
    for leakage in dict.fromkeys(one.leakage for one in ready.values()):
        tell(f"what is learned: {one_line(leakage)}")


def _counted(clients: list[VendorClient], prepared: dict[str, PreparedCount | TwinwardError]) -> Counts:
    from twinward.client.multi import send_counts

    with progress() as bars:
        bars.add_task("counting", total=None)
        return send_counts(clients, prepared)


def _shown(counts: Counts) -> dict[str, Any]:
    return {
        "counts": {name: asdict(one) | {"low": one.low, "high": one.high} for name, one in counts.counts.items()},
        "failures": {one.hospital: str(one.error) for one in counts.failures},
        "sum": {
            "noisy": counts.noisy,
            "half_width": counts.half_width,
            "low": counts.low,
            "high": counts.high,
        },
    }


def _print(counts: Counts) -> None:
    for name, one in counts.counts.items():
        say(f"{one_line(one.hospital)} ({name}): about {max(0, one.noisy)} patients, {one.low} to {one.high} (95 %)")
        tell(f"  epsilon {one.epsilon:g} charged, {one.epsilon_left:g} left in epoch {one.epoch}; query {one.query_id}")
    for failure in counts.failures:
        say(f"{failure.hospital}: no answer: {one_line(str(failure.error))}")
        if failure.error.hint:
            say(f"  what to do: {one_line(failure.error.hint)}")
    if len(counts.counts) > 1:
        say(f"together: about {max(0, counts.noisy)} patients, {counts.low} to {counts.high} (95 %)")
