"""``twinward vendor keygen``, and the passphrase under which a vendor's keys are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import ask_secret, read_secret_input
from twinward.cli.output import JsonOption, say, show_json
from twinward.core.errors import BadInput

PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="TWINWARD_VENDOR_PASSPHRASE_FILE",
        help="A file with the passphrase of your keys. Asked for where there is none.",
    ),
]


def keygen(
    file: Annotated[Path, typer.Argument(help="Where the keys go. A key is never overwritten.")],
    classical: Annotated[bool, typer.Option("--classical", help="X25519 alone, without ML-KEM.")] = False,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key pair to which hospitals seal records, and keep it under a passphrase.

    Queries need no key of yours: in vendor-key mode a fresh one is made for each and forgotten with the answer.

    Exit codes: 0, 2 a bad passphrase or place, 4 the file exists.

    Example: twinward vendor keygen acme.keys --passphrase-file acme.pass
    """
    with errors_taught(as_json=as_json):
        from twinward.client import VendorKeys

        keys = VendorKeys.generate(classical=classical)
        keys.save(file, passphrase_of(passphrase_file, twice=True))
        if as_json:
            show_json({"file": str(file), "suite": keys.suite, "fingerprint": keys.fingerprint})
            return
        say(f"{file}: {keys.suite}, public key SHA-256 {keys.fingerprint}")
        say("without the passphrase nobody opens what is sealed to it, you included")


def passphrase_of(file: Path | None, *, twice: bool = False) -> str:
    """From its file, or typed. Raises ``BadInput``."""
    if file is not None:
        try:
            return read_secret_input(file, "the passphrase", most=4096).decode().strip("\r\n")
        except UnicodeDecodeError:
            raise BadInput(f"{file} does not hold a passphrase") from None
    return ask_secret("Passphrase of your keys", option="--passphrase-file", twice=twice)
