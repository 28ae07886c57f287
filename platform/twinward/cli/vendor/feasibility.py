"""``twinward vendor feasibility``: how many patients would be eligible, under criteria that the hospital never sees."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

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
    from twinward.client import Count, Criteria, PreparedCount, VendorClient

Made = TypeVar("Made")


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
        wanted = _read(criteria)
        each = token_for_each(token_file or [], urls, tokens, same_token=same_token)
        clients = clients_of(stack, urls, each, hospital_key, known_hospitals, plain_http=plain_http)
        prepared = _each(clients, lambda one: one.prepare_count(wanted, epsilon=epsilon))
        ready = {name: one for name, one in prepared.items() if not isinstance(one, TwinwardError)}
        if not ready:
            raise next(one for one in prepared.values() if isinstance(one, TwinwardError))
        _announce(ready)
        confirm("Send the question? It is charged at each hospital.", yes=yes)
        if keep is not None:  # before it is sent: what was paid for and not kept could be disclosed to nobody
            write_kept(keep, *ready.values())
        counts = _counted(clients, prepared)
        answered = {name: one for name, one in counts.items() if not isinstance(one, TwinwardError)}
        if not answered:
            raise next(one for one in counts.values() if isinstance(one, TwinwardError))
        failures = {name: one for name, one in counts.items() if isinstance(one, TwinwardError)}
        if as_json:
            show_json(_shown(answered, failures))
        else:
            _print(answered, failures)


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


def _counted(
    clients: list[VendorClient], prepared: dict[str, PreparedCount | TwinwardError]
) -> dict[str, Count | TwinwardError]:
    def send(client: VendorClient) -> Count:
        ready = prepared[client.base_url]
        if isinstance(ready, TwinwardError):
            raise ready
        return client.send_count(ready)

    with progress() as bars:
        bars.add_task("counting", total=None)
        return _each(clients, send)


def _each(clients: list[VendorClient], do: Callable[[VendorClient], Made]) -> dict[str, Made | TwinwardError]:
    """What each hospital's client makes of it, by address, side by side; errors stand in their places."""
    if len({client.base_url for client in clients}) != len(clients):
        raise BadInput("each hospital is asked once")

    def outcome(client: VendorClient) -> Made | TwinwardError:
        try:
            return do(client)
        except TwinwardError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(len(clients), 16)) as pool:
        return {one.base_url: made for one, made in zip(clients, pool.map(outcome, clients), strict=True)}


def _shown(answered: dict[str, Count], failures: dict[str, TwinwardError]) -> dict[str, Any]:
    from twinward.client.counts import summed

    total, width = summed(list(answered.values()))
    return {
        "counts": {name: asdict(one) | {"low": one.low, "high": one.high} for name, one in answered.items()},
        "failures": {name: str(error) for name, error in failures.items()},
        "sum": {"noisy": total, "half_width": width, "low": max(0, total - width), "high": max(0, total + width)},
    }


def _print(answered: dict[str, Count], failures: dict[str, TwinwardError]) -> None:
    from twinward.client.counts import summed

    for name, one in answered.items():
        say(f"{one_line(one.hospital)} ({name}): about {max(0, one.noisy)} patients, {one.low} to {one.high} (95 %)")
        tell(f"  epsilon {one.epsilon:g} charged, {one.epsilon_left:g} left in epoch {one.epoch}; query {one.query_id}")
    for name, error in failures.items():
        say(f"{name}: no answer: {one_line(str(error))}")
        if error.hint:
            say(f"  what to do: {one_line(error.hint)}")
    if len(answered) > 1:
        total, width = summed(list(answered.values()))
        say(f"together: about {max(0, total)} patients, {max(0, total - width)} to {max(0, total + width)} (95 %)")
