"""``twinward disclosure``: hand a patient's records to one recipient, sealed to a key that only it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.context import AsOption, TwinArgument, context_of, node_at, twin_of
from twinward.cli.errors import errors_taught
from twinward.cli.input import ask_secret, read_input, read_secret_input
from twinward.cli.output import HomeOption, JsonOption, OutputFile, say, show_json
from twinward.core.errors import BadInput, Conflict
from twinward.core.vocabulary import Action, Category, Purpose

if TYPE_CHECKING:
    from twinward.client.keys import VendorKeys


MAX_KEY_TEXT_BYTES = 4096
KeysOption = Annotated[Path, typer.Option("--keys", help="Your keys, as `twinward vendor keygen` made them.")]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file with their passphrase. Asked for where there is none.")
]


def public(
    keys: KeysOption,
    target: Annotated[Path, typer.Option("--out", help="Where to write it; must not exist. '-' prints it.")],
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the public half of your keys, to give to hospitals. Tell them its fingerprint some other way.

    Exit codes: 0, 2 no such keys or another passphrase, 4 the file exists.

    Example: twinward disclosure public --keys acme.keys --out acme.pub
    """
    with errors_taught(as_json=as_json):
        pair = _load(keys, passphrase_file)
        to = OutputFile(target, as_json=as_json)
        to.write(pair.public.hex().encode() + b"\n")
        shown: dict[str, object] = {"file": str(to), "fingerprint": pair.fingerprint, "suite": pair.suite}
        to.report(shown, f"{to}: {pair.suite}, SHA-256 {pair.fingerprint}")


def seal(
    twin: TwinArgument,
    recipient: Annotated[Path, typer.Option("--to", help="The recipient's public key: `twinward disclosure public`.")],
    account: AsOption,
    purpose: Annotated[Purpose, typer.Option(help="PATRQT (the patient's request) or RECORDMGT.")],
    category: Annotated[list[Category], typer.Option("--category", help="What to hand over; once or more.")],
    target: Annotated[Path, typer.Option("--out", help="Where to write the file; must not exist. '-' prints it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal a patient's records to a recipient's key. Policy and consent decide, and the log says who took out what.

    Exit codes: 0, 2 not a public key, 3 no such twin or account, 4 the file exists, 6 policy or consent says no.

    Example: twinward disclosure seal 0198… --to acme.pub --as olga --purpose PATRQT --category labs --out labs.sealed
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.disclosure.service import disclose

        to = OutputFile(target, as_json=as_json)
        request = context_of(node, account, purpose).request(Action.EXPORT, twin_of(node, twin), category)
        key = _public_key(recipient)
        disclosed, sealed = disclose(node.access, node.vault, request, key, node.log.origin)
        to.write(sealed)
        records, index = len(disclosed.records), disclosed.index
        to.report(
            {"file": str(to), "records": records, "bytes": len(sealed), "event": index},
            f"{records} records sealed into {to} ({len(sealed):,} bytes)",
            f"event {index} of the access log says so; only the recipient's key opens the file",
        )


def open_(
    file: Annotated[Path, typer.Argument(help="What a hospital's `disclosure seal` wrote.")],
    keys: KeysOption,
    folder: Annotated[Path, typer.Option("--out", help="A new folder, for one file a record.")],
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open what was sealed to your keys: each record as the very bytes that the hospital holds. Needs no node.

    Exit codes: 0, 2 it does not open with these keys, 4 the folder exists.

    Example: twinward disclosure open labs.sealed --keys acme.keys --out ./records
    """
    with errors_taught(as_json=as_json):
        from twinward.protocol.disclosed import MAX_FILE_BYTES, open_disclosed

        opened = open_disclosed(read_input(file, most=MAX_FILE_BYTES), _load(keys, passphrase_file))
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise Conflict(f"{folder} exists", hint="give another --out") from None
        except OSError as error:
            raise BadInput(f"{folder} cannot be made: {error.strerror}") from None
        for number, one in enumerate(opened.records):
            ending = "json" if one.content[:1] in (b"{", b"[") else "bin"
            # No name of the hospital's becomes a path.
            OutputFile(folder / f"{number:05d}.{ending}", as_json=False).write(one.content)
        if as_json:
            shown = {"twin": opened.twin, "records": len(opened.records), "in": str(folder)}
            show_json(shown | {"origin": opened.origin, "event": opened.index})
        else:
            say(f"{len(opened.records)} records of {opened.twin} in {folder}")
            say(f"disclosed by {opened.origin}, event {opened.index}")


def _load(path: Path, passphrase_file: Path | None) -> VendorKeys:
    from twinward.client.keys import VendorKeys

    if passphrase_file is None:
        passphrase = ask_secret("Passphrase of your keys", option="--passphrase-file")
    else:
        passphrase = read_secret_input(passphrase_file, "the passphrase", most=1024).decode("utf-8", "replace")
        passphrase = passphrase.rstrip("\r\n")
    return VendorKeys.load(path, passphrase)


def _public_key(path: Path) -> bytes:
    try:
        return bytes.fromhex(read_input(path, most=MAX_KEY_TEXT_BYTES).decode("ascii").strip())
    except (UnicodeDecodeError, ValueError):
        raise BadInput(f"{path} holds no public key", hint="`twinward disclosure public` writes one") from None
