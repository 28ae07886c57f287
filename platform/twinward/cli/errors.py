"""Errors that teach: a message, a hint and an exit code instead of a traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import click
import typer
from rich.markup import escape

from twinward.cli.output import err, show_json, tell
from twinward.core.errors import TwinwardError
from twinward_crypto.errors import CryptoError
from twinward_ledger.errors import LedgerError

_EXTRA_OF_PACKAGE = {
    "Crypto": "shamir",
    "boto3": "aws",
    "botocore": "aws",
    "dp_accounting": "research",
    "flwr": "flower",
    "hvac": "transit",
    "onnx": "research",
    "opacus": "research",
    "pkcs11": "pkcs11",
    "psycopg": "postgres",
    "ray": "cluster",
    "sklearn": "research",
    "torch": "research",
}
"""The extra that brings a package, where there is only one; what others bring depends on the command."""

_EXTRA_OF_COMMAND = {"vendor": "vendor", "disclosure": "vendor", "study": "research", "outbreak simulate": "research"}
_VENDORS_PACKAGES = frozenset({"numpy", "pint", "tenseal", "ucumvert", "zstandard"})
"""They come with ``vendor``, and with whatever extra their command needs."""
_WORD_CHARS = 200
_ENDLESS = re.compile(rf"\S{{{_WORD_CHARS + 1},}}")
"""A word that nobody reads to its end: what was typed, and is repeated in a message."""


@contextmanager
def errors_taught(*, as_json: bool = False) -> Iterator[None]:
    """Turn expected errors into a message, a hint and an exit code; keep tracebacks from the user."""
    try:
        yield
    except TwinwardError as error:
        _complain(str(error), error.hint, kind=type(error).__name__, as_json=as_json)
        raise typer.Exit(error.exit_code) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("twinward"):
            raise
        hint = f"pip install 'twinward[{_extra_with(package)}]'"
        _complain(f"this command needs the package {package}", hint, kind="NotInstalled", as_json=as_json)
        raise typer.Exit(7) from None
    except BrokenPipeError:
        raise  # whoever read the output has seen enough
    except KeyboardInterrupt:
        tell("interrupted: what was done stands, nothing is half-written")
        raise typer.Exit(130) from None
    except RecursionError:  # of json, tomllib and whatever else reads files by calling itself
        hint = "no file of this kind has thousands of brackets within each other"
        _complain("what was given is nested too deep to be read", hint, kind="BadInput", as_json=as_json)
        raise typer.Exit(2) from None
    except UnicodeEncodeError:  # bytes of the command line that are no text
        _complain("what was given is not text in UTF-8", "", kind="BadInput", as_json=as_json)
        raise typer.Exit(2) from None
    except (CryptoError, LedgerError, OSError) as error:
        _complain(_first_line(error), "", kind=type(error).__name__, as_json=as_json)
        raise typer.Exit(1) from None
    except ValueError as error:
        from pydantic import ValidationError  # here, for --help does without

        if not isinstance(error, ValidationError):
            raise
        first = error.errors(include_url=False, include_input=False)[0]
        message = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        _complain(message, "", kind=type(error).__name__, as_json=as_json)
        raise typer.Exit(1) from None


def _extra_with(package: str) -> str:
    """The extra that the command which is running needs: one that brings this package and what it will need next."""
    context = click.get_current_context(silent=True)
    names = [] if context is None else context.command_path.split()
    group, command = " ".join(names[1:2]), " ".join(names[1:3])
    if package in _VENDORS_PACKAGES:
        return _EXTRA_OF_COMMAND.get(command) or _EXTRA_OF_COMMAND.get(group, "node")
    return _EXTRA_OF_PACKAGE.get(package, "node")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def complain_about_defect(error: BaseException) -> None:
    """The last resort: something nobody expected. Shows no traceback unless TWINWARD_DEBUG asks for it."""
    if os.environ.get("TWINWARD_DEBUG"):
        err.print_exception()
    hint = "nothing is half-written; please report it with the output of the same command under TWINWARD_DEBUG=1"
    _complain(f"internal error ({type(error).__name__})", hint, kind="InternalError", as_json=False)


def _complain(message: str, hint: str, *, kind: str, as_json: bool) -> None:
    message, hint = (_ENDLESS.sub(lambda found: f"{found[0][:_WORD_CHARS]}…", text) for text in (message, hint))
    if as_json:
        show_json({"error": {"kind": kind, "message": message, "hint": hint}})
        return
    message, hint = (text.replace("\n", " ") for text in (message, hint))
    err.print(f"[bold red]error[/]: {escape(message)}", soft_wrap=True)
    if hint:
        err.print(f"[dim]what to do[/]: {escape(hint)}", soft_wrap=True)
