"""``twinward vendor``: ask hospitals encrypted questions. Needs the extra ``vendor`` only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import confirm
from twinward.cli.output import JsonOption, YesOption, say, show_json, show_table, table, tell
from twinward.cli.vendor.answers import (
    announce,
    life_line,
    one_line,
    print_answers,
    print_matches,
    shown,
    shown_answers,
)
from twinward.cli.vendor.keys import PassphraseOption
from twinward.cli.vendor.questions import (
    known_hospitals_file,
    question_values,
    token_for_each,
    token_of,
    weights_of,
    where_given,
)
from twinward.cli.vendor.releases import fetch, keys_for, print_fetched
from twinward.core.errors import BadInput, TwinwardError
from twinward.core.outbound import require_private

if TYPE_CHECKING:
    from twinward.client import Matches, Question, Records, VendorClient


MODES = ("gated", "vendor-key", "matrix")
UrlArgument = Annotated[str, typer.Argument(help="The hospital's address, e.g. https://twinward.st-anna.example.")]
TokenOption = Annotated[
    Path | None, typer.Option("--token-file", help="A file with the token. Default: TWINWARD_TOKEN in the environment.")
]
TokensOption = Annotated[
    list[Path] | None,
    typer.Option("--token-file", help="A file with a hospital's token; once for each hospital, in their order."),
]
ByAddressOption = Annotated[
    Path | None,
    typer.Option(
        "--tokens",
        envvar="TWINWARD_TOKENS_FILE",
        help='A file with the token of each hospital by address: {"https://st-anna.example": "…"}.',
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--hospital-key",
        help="The hospital's key for answers, as `twinward similarity key` prints it there. [the first key seen]",
    ),
]
KeysOption = Annotated[
    list[str] | None,
    typer.Option("--hospital-key", help="A hospital's key for answers; once for each hospital, in their order."),
]
KnownOption = Annotated[
    Path | None,
    typer.Option(
        "--known-hospitals",
        envvar="TWINWARD_KNOWN_HOSPITALS",
        help="The file that remembers hospitals' keys.",
        show_default="known-hospitals.json in your configuration folder",
    ),
]
PlainOption = Annotated[bool, typer.Option("--plain-http", help="Send the token over http:// beyond this machine.")]


def schema(
    url: UrlArgument,
    token_file: TokenOption = None,
    tokens: ByAddressOption = None,
    hospital_key: KeyOption = None,
    known_hospitals: KnownOption = None,
    plain_http: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """What a hospital answers: its features and units, its modes, and what each mode leaks.

    Exit codes: 0, 5 no token, 6 the hospital refuses, 7 it does not answer.

    Example: twinward vendor schema https://twinward.st-anna.example --token-file acme.token
    """
    with (
        errors_taught(as_json=as_json),
        client_of(url, token_file, tokens, hospital_key, known_hospitals, plain_http=plain_http) as client,
    ):
        terms = client.schema()
        if as_json:
            show_json(terms.model_dump(mode="json"))
            return
        seen = " (seen for the first time: compare it with what the hospital says)" if client.key_first_seen else ""
        say(f"answers are signed by the key {client.hospital_key}{seen}")
        say(
            f"{one_line(terms.hospital)}, epoch {terms.epoch}; at least {terms.minimum_count} matches, or none are told"
        )
        say(life_line(terms.cohort))
        features = table("feature", "unit", "from", "to", "LOINC", "what")
        for one in terms.feature_schema.features:
            loinc = " ".join(one.loinc) or "derived"
            cells = (one.name, one.unit, f"{one.low:g}", f"{one.high:g}", loinc, one.title)
            features.add_row(*(" ".join(cell.split()) for cell in cells))
        show_table(features)
        say(
            f"quantised to {terms.feature_schema.levels} levels: a distance is off by at most "
            f"{terms.feature_schema.share_error:.2%} of the ranges (root mean square)"
        )
        for facet in terms.facets:
            say(f"may be filtered by {facet.name}: {', '.join(facet.values)}")
        for mode in terms.modes:
            say(f"{mode.mode.value}: {one_line(mode.leakage)}")


def query(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="The hospitals' addresses, one or several.")],
    mode: Annotated[str, typer.Option(help=f"How to ask: {', '.join(MODES)}. `vendor schema` says what each leaks.")],
    values: Annotated[
        Path | None, typer.Option(help='A JSON object, e.g. {"hba1c_percent": [66, "mmol/mol"]}; "-" reads it.')
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="name=value, with another UCUM unit after it if you like; may be repeated.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="How near: a share of each feature's range, 0 to 1. [0.05]")
    ] = None,
    nearest: Annotated[
        int | None, typer.Option(min=1, help="The nearest so many (more where several are equally far).")
    ] = None,
    weight: Annotated[list[str] | None, typer.Option(help="name=whole number; may be repeated.")] = None,
    allow_out_of_range: Annotated[
        bool,
        typer.Option("--allow-out-of-range", help="A value beyond its feature's range is meant; it counts as the end."),
    ] = False,
    count_only: Annotated[
        bool, typer.Option("--count-only", help="How many they are, and no handles: less to learn, less to look after.")
    ] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(help="facet=value: only entries with it, e.g. year=2026; may be repeated. The hospital sees it."),
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
    """Which patients are like this one? Says what would be sent, how long it took to make and what the mode leaks,
    and asks, before it sends.

    Several hospitals are asked side by side; one that does not answer is named.

    Exit codes: 0, 1 you said no, 2 a bad question, 5 no token, 6 refused or no budget left, 7 no answer from any.

    Example: twinward vendor query https://twinward.st-anna.example --mode gated --feature hba1c_percent=8.2
    --feature "glucose_mg_dl=7.2 mmol/L" --nearest 5
    """
    with errors_taught(as_json=as_json), contextlib.ExitStack() as stack:
        if mode not in MODES:
            raise BadInput(f"there is no mode {mode!r}", hint=f"use one of: {', '.join(MODES)}")
        from twinward.client import Mode, Question

        given, filtered = question_values(values, feature or []), where_given(where or [])
        weights = weights_of(weight or []) or None
        question = Question(given, Mode(mode), threshold, nearest, weights, allow_out_of_range, count_only, filtered)
        each = token_for_each(token_file or [], urls, tokens, same_token=same_token)
        clients = clients_of(stack, urls, each, hospital_key, known_hospitals, plain_http=plain_http)
        _ask(clients, question, yes=yes, as_json=as_json)


def _ask(clients: list[VendorClient], question: Question, *, yes: bool, as_json: bool) -> None:
    """Prepare the query for each hospital, say what would be sent, ask, send it, and print what comes."""
    from twinward.client.multi import prepare_hospitals, send_hospitals

    prepared = prepare_hospitals(clients, question)
    ready = {name: one for name, one in prepared.items() if not isinstance(one, TwinwardError)}
    if not ready:
        raise next(one for one in prepared.values() if isinstance(one, TwinwardError))
    announce(ready)
    confirm("Send the query? It spends one of your budget at each hospital.", yes=yes)
    answers = send_hospitals(clients, prepared, question)
    if as_json:
        show_json(shown_answers(answers) if len(clients) > 1 else shown(answers.matches[clients[0].base_url]))
    else:
        print_answers(answers)


def budget(
    url: UrlArgument,
    token_file: TokenOption = None,
    tokens: ByAddressOption = None,
    hospital_key: KeyOption = None,
    known_hospitals: KnownOption = None,
    plain_http: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """How many queries are left in the running epoch.

    Exit codes: 0, 5 no token, 6 the hospital refuses, 7 it does not answer.

    Example: twinward vendor budget https://twinward.st-anna.example
    """
    with (
        errors_taught(as_json=as_json),
        client_of(url, token_file, tokens, hospital_key, known_hospitals, plain_http=plain_http) as client,
    ):
        left = client.budget()
        if as_json:
            show_json(left.model_dump(mode="json"))
        else:
            until = ""
            if left.resets_at_s is not None:
                until = f", which ends at {datetime.fromtimestamp(left.resets_at_s, tz=UTC):%Y-%m-%d %H:%M} UTC"
            say(f"{left.remaining} queries left in epoch {left.epoch}{until}")


def results(
    url: UrlArgument,
    keys: Annotated[
        Path | None, typer.Option(help="Your keys: also fetch and open the records behind the handles.")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Which records, e.g. labs; may be repeated. Consent decides what comes.")
    ] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="A new folder for the opened records.")] = None,
    query_id: Annotated[
        str | None,
        typer.Option(
            "--query-id", help="One query's answer, again: the id that the error of the cut connection names."
        ),
    ] = None,
    passphrase_file: PassphraseOption = None,
    token_file: TokenOption = None,
    tokens: ByAddressOption = None,
    hospital_key: KeyOption = None,
    known_hospitals: KnownOption = None,
    plain_http: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """What was released to you in the running epoch, oldest first; with --keys the records too, opened into --out.

    Answers are kept by the hospital until the epoch ends; fetching them again costs nothing. After a connection that
    was cut, --query-id tells whether the query was answered. Vendor-key answers are read by the process that asked
    alone.

    Each patient whose records are fetched decides by consent, and finds the access in the hospital's log. Records cost
    one of your queries for every 8 patients.

    Exit codes: 0, 2 wrong keys, 3 a handle of another epoch, 5 no token, 6 the hospital refuses, 7 it does not answer.

    Example: twinward vendor results https://twinward.st-anna.example --keys acme.keys --category labs --out ./records
    """
    with (
        errors_taught(as_json=as_json),
        client_of(url, token_file, tokens, hospital_key, known_hospitals, plain_http=plain_http) as client,
    ):
        pair = keys_for(keys, category or [], out_folder, passphrase_file)
        found = client.results(query_id)
        fetched = None
        if pair is not None and out_folder is not None:
            handles = sorted({handle for one in found for handle in one.handles})
            fetched = fetch(client, handles, category or [], pair, out_folder) if handles else None
        if not as_json:
            _print_results(found, fetched, out_folder)
            return
        told: dict[str, Any] = {"results": [shown(one) for one in found]}
        if fetched is not None:
            told["records"] = {"opened": len(fetched.records), "withheld": fetched.withheld, "in": str(out_folder)}
            told["records"] |= {"budget_left": fetched.budget_left, "until_s": fetched.until_s}
        show_json(told)


def _print_results(found: Sequence[Matches], fetched: Records | None, out_folder: Path | None) -> None:
    if not found:
        say("nothing was released to you in this epoch")
    for one in found:
        print_matches(one)
    if fetched is not None:
        print_fetched(fetched, out_folder)


@contextlib.contextmanager
def client_of(
    url: str, token_file: Path | None, tokens: Path | None, key: str | None, known: Path | None, *, plain_http: bool
) -> Iterator[VendorClient]:
    """The client of one hospital, closed with the block. Raises ``BadInput``, ``NotAuthenticated``."""
    from twinward.client import VendorClient

    require_private(url, plain_http=plain_http)
    token, known = token_of(token_file, url, tokens), _known_file(known)
    with VendorClient(url, token, plain_http=plain_http, hospital_key=key, known_hospitals=known) as client:
        yield client


def clients_of(
    stack: contextlib.ExitStack,
    urls: list[str],
    tokens: list[str],
    keys: list[str] | None,
    known_hospitals: Path | None,
    *,
    plain_http: bool,
) -> list[VendorClient]:
    """One for each hospital, closed with ``stack``. Raises ``BadInput`` where their keys are not one for each."""
    from twinward.client import VendorClient

    for url in urls:
        require_private(url, plain_http=plain_http)
    each: list[str] | list[None] = keys or [None] * len(urls)
    if len(each) != len(urls):
        raise BadInput("give one --hospital-key for each hospital, in their order, or none")
    known = _known_file(known_hospitals)
    return [
        stack.enter_context(VendorClient(url, token, plain_http=plain_http, hospital_key=key, known_hospitals=known))
        for url, token, key in zip(urls, tokens, each, strict=True)
    ]


def _known_file(named: Path | None) -> Path:
    """The file of known hospitals; says so where one was named that is not there: a slip would believe any key."""
    if named is None:
        return known_hospitals_file()
    if not named.exists():
        tell(f"note: {named} is not there: keys are believed as hospitals show them now, and kept there")
    return named
