"""What a command is given: small files, secrets, and a yes before what cannot be undone."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from twinward.cli.output import err
from twinward.core.errors import BadInput, NotFound
from twinward.core.visible_text import visible

MAX_INPUT_BYTES = 1 << 20
"""Of a small file a command is given: a consent, a protocol, a query, a proof. Imports have bounds of their own."""


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone. Raises ``BadInput`` where nobody can answer, exits 1 on a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Nobody is there to answer.", hint="give --yes if you mean it")
    if not typer.confirm(visible(question), err=True):
        err.print("nothing was done")
        raise typer.Exit(1)


def ask_secret(what: str, *, option: str, twice: bool = False) -> str:
    """Ask for a password without showing it. Raises ``BadInput`` where nobody can type one unseen."""
    if not sys.stdin.isatty():
        raise BadInput(
            f"a {what[0].lower()}{what[1:]} is needed, and nobody is there to type it", hint=f"give {option}"
        )
    return str(typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))


def read_input(path: Path, *, most: int = MAX_INPUT_BYTES) -> bytes:
    """A small file, ``-`` for standard input. Raises ``BadInput`` if it cannot be read or is too long."""
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(most + 1)
        else:
            with path.open("rb") as file:
                content = file.read(most + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise BadInput(f"{path} is longer than {most} bytes")
    return content


def require_file(path: Path, what: str) -> None:
    """Raise ``NotFound`` unless it is there, ``BadInput`` unless it can be read from any place: a pipe cannot."""
    if str(path) == "-" or (path.exists() and not path.is_file()):
        raise BadInput(f"{what} is a file: a pipe, standard input or a folder is none", hint="save it to a file first")
    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint=f"give {what}")


def read_secret_input(path: Path, what: str, *, most: int) -> bytes:
    """As ``read_input``, of a file with a secret. Raises ``BadInput`` where others than its owner may read it, too."""
    from twinward_crypto.providers import is_exposed

    if str(path) == "-":
        return read_input(path, most=most)
    try:
        with path.open("rb") as file:
            exposed, content = is_exposed(file.fileno()), file.read(most + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if exposed:
        raise BadInput(f"{what} in {path} can be read by others", hint=f"chmod 600 {path}")
    if len(content) > most:
        raise BadInput(f"{path} is longer than {most} bytes")
    return content
