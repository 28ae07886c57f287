"""``twinward vendor contact`` and ``contacts``: ask a hospital to tell its patients of a study, after a count."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import confirm, read_input, read_secret_input
from twinward.cli.output import JsonOption, YesOption, counted, say, show_json, tell
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
from twinward.core.clock import iso
from twinward.core.errors import BadInput, Conflict

if TYPE_CHECKING:
    from twinward.client import Contact, PreparedCount

MAX_TEXT_BYTES = 64 << 10


def contact(
    url: UrlArgument,
    count: Annotated[Path, typer.Option("--count", help="What `vendor feasibility --keep` kept, of this epoch.")],
    title: Annotated[str, typer.Option(help="The study's title: officers and patients read it.")],
    purpose: Annotated[str, typer.Option(help="What for, in a sentence: officers and patients read it.")],
    text: Annotated[Path, typer.Option(help='A file with what the hospital may tell patients; "-" reads it.')],
    yes: YesOption = False,
    token_file: TokenOption = None,
    tokens: ByAddressOption = None,
    hospital_key: KeyOption = None,
    known_hospitals: KnownOption = None,
    plain_http: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the hospital to tell those patients of a study whom you counted. It discloses your criteria, to it alone.

    A hospital cannot find patients by criteria that it cannot read, so the criteria and the question's key are sent:
    the key proves that they are what was counted. An officer decides. If approved, the hospital tells the patients who
    are eligible and consent to it; whom, and how many, you never learn. It costs nothing.

    Exit codes: 0 proposed, 1 you said no, 2 a count of another epoch or an unusable text, 3 no such count there,
    4 another request stands on this count, 5 no token, 6 refused, 7 no answer.

    Example: twinward vendor contact https://twinward.st-anna.example --count trial.count --title "SGLT2 add-on"
    --purpose "a trial of a medicine for diabetes" --text patients.txt
    """
    with (
        errors_taught(as_json=as_json),
        client_of(url, token_file, tokens, hospital_key, known_hospitals, plain_http=plain_http) as client,
    ):
        from twinward.client.contacts import MAX_FILE_BYTES, KeptCount

        kept = KeptCount.decode(read_secret_input(count, "the kept count", most=MAX_FILE_BYTES))
        try:
            told = read_input(text, most=MAX_TEXT_BYTES).decode()
        except UnicodeDecodeError:
            raise BadInput("the text for patients is not UTF-8") from None
        kept.proposal(title, purpose, told)  # refused here, before anything leaves
        tell(f"discloses to {one_line(kept.hospital)}: the criteria of the count, and the key of its question")
        confirm("Disclose the criteria, and ask the hospital to tell patients?", yes=yes)
        _show([client.propose_contact(kept, title=title, purpose=purpose, text=told)], as_json=as_json)


def contacts(
    url: UrlArgument,
    token_file: TokenOption = None,
    tokens: ByAddressOption = None,
    hospital_key: KeyOption = None,
    known_hospitals: KnownOption = None,
    plain_http: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """What became of your contact requests at a hospital: waiting, approved, or refused and why.

    Exit codes: 0, 5 no token, 6 the hospital refuses, 7 it does not answer.

    Example: twinward vendor contacts https://twinward.st-anna.example
    """
    with (
        errors_taught(as_json=as_json),
        client_of(url, token_file, tokens, hospital_key, known_hospitals, plain_http=plain_http) as client,
    ):
        found = client.contacts()
        _show(found, as_json=as_json)
        if not as_json:
            say(counted(len(found), "request", "requests"))


def write_kept(file: Path, prepared: PreparedCount) -> None:
    """Keep a count for its owner's eyes. Raises ``Conflict``: the file exists; ``BadInput``: it cannot be written."""
    from twinward.client.contacts import KeptCount
    from twinward.core.private_files import create_private

    try:
        create_private(file, KeptCount.of(prepared).encode())
    except FileExistsError:
        raise Conflict(f"{file} exists", hint="a kept count is never overwritten: name another file") from None
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}", hint="nothing was sent") from None


def _show(found: list[Contact], *, as_json: bool) -> None:
    if as_json:
        show_json({"requests": [asdict(one) for one in found]})
        return
    for one in found:
        decided = f", decided {iso(one.decided_ms)[:16].replace('T', ' ')} UTC" if one.decided_ms else ""
        say(f"{one.name}  {one.state.value}{decided}  {one_line(one.title)}")
        if one.reason:
            say(f"    because: {one_line(one.reason)}")
