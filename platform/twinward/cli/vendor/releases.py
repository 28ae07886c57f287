"""Records behind handles: fetched into a new folder, and opened again from the file that lies beside them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import JsonOption, say, show_json
from twinward.cli.vendor.answers import one_line
from twinward.cli.vendor.keys import PassphraseOption, passphrase_of
from twinward.core.errors import BadInput

if TYPE_CHECKING:
    from twinward.client import Record, Records, VendorClient, VendorKeys

RELEASE_FILE = "release.json"
"""Beside opened records: what the hospital sealed and signed."""


def open_records(
    file: Annotated[Path, typer.Argument(help=f"The release, {RELEASE_FILE} beside records that were fetched.")],
    keys: Annotated[Path, typer.Option(help="Your keys, to which the hospital sealed the records.")],
    out_folder: Annotated[Path, typer.Option("--out", help="A new folder for the opened records.")],
    hospital_key: Annotated[
        str | None, typer.Option("--hospital-key", help="The hospital's key for answers. [the file's own word]")
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open released records again, without a network, until their end: what has expired is refused.

    The hospital signed until when they may be used. Whoever deletes opened records after use and keeps the release has
    nothing lying about in the clear.

    Exit codes: 0, 2 no release or wrong keys, 6 expired, 7 forged or altered.

    Example: twinward vendor open records/release.json --keys acme.keys --out ./again
    """
    with errors_taught(as_json=as_json):
        pair = keys_for(keys, ["any"], out_folder, passphrase_file)
        from twinward.client.releases import Release
        from twinward.client.signed_files import MAX_FILE_BYTES

        if pair is None:
            raise BadInput("records need --keys and --out")
        found = Release.decode(read_input(file, most=MAX_FILE_BYTES)).open(pair, key=hospital_key)
        write_records(found, out_folder)
        if as_json:
            show_json({"opened": len(found), "in": str(out_folder)})
        else:
            say(f"{len(found)} records opened into {out_folder}")


def keys_for(
    file: Path | None, categories: list[str], out_folder: Path | None, passphrase_file: Path | None
) -> VendorKeys | None:
    """The keys that records are opened with; None where none are asked for. Raises ``BadInput``."""
    if file is None and not categories and out_folder is None:
        return None
    if file is None or not categories or out_folder is None:
        raise BadInput("records need --keys, --category and --out together")
    if out_folder.exists():
        raise BadInput(f"{out_folder} exists", hint="give a new folder")
    if not out_folder.absolute().parent.is_dir():
        raise BadInput(f"{out_folder} cannot be made", hint="give a new folder in one that exists")
    from twinward.client import VendorKeys

    return VendorKeys.load(file, passphrase_of(passphrase_file))


def fetch(client: VendorClient, handles: list[str], categories: list[str], keys: VendorKeys, folder: Path) -> Records:
    """Open everything first, then write it, with the release beside where something was released."""
    fetched = client.records(handles, keys, categories=categories)
    write_records(fetched.records, folder)
    if fetched.records and fetched.release is not None:
        (folder / RELEASE_FILE).write_bytes(fetched.release.encode())
    return fetched


def write_records(records: Sequence[Record], folder: Path) -> None:
    """A new folder of a folder for each handle. Raises ``BadInput`` where it cannot be written."""
    try:
        folder.mkdir(mode=0o700)
        for number, record in enumerate(records):
            place = folder / record.handle
            place.mkdir(mode=0o700, exist_ok=True)
            kind = "".join(letter for letter in record.record_type if letter.isalnum())[:40] or "record"
            (place / f"{number:05}-{kind}.json").write_bytes(record.content)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}") from None


def print_fetched(fetched: Records, folder: Path | None) -> None:
    """What was opened, and until when it may be used."""
    say(f"{len(fetched.records)} records opened into {folder} ({fetched.sealed_bytes:,} sealed bytes)")
    if fetched.records and fetched.until_s is not None:
        until = f"{datetime.fromtimestamp(fetched.until_s, tz=UTC):%Y-%m-%d %H:%M} UTC"
        say(f"they may be used until {until}; {RELEASE_FILE} opens until then, with `twinward vendor open`")
    if fetched.budget_left is not None:
        say(f"{fetched.budget_left} queries left")
    if fetched.withheld:
        say(one_line(fetched.withheld))
