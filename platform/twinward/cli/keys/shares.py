"""Officers' shares of the local master key, for ``twinward keys split``, ``seal`` and ``unseal``.

They open the key store alone, never the node: a sealed node has nothing that could open it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import MAX_INPUT_BYTES, confirm, read_secret_input
from twinward.cli.output import HomeOption, JsonOption, YesOption, say, show_json
from twinward.core.errors import BadInput, NotFound, Unavailable
from twinward_crypto.errors import KeyProviderError, MalformedKey

if TYPE_CHECKING:
    from twinward_crypto.providers.local import LocalKeyProvider
    from twinward_crypto.secret_sharing import Share


SharesOption = Annotated[
    Path | None,
    typer.Option(
        "--shares-from",
        help="A file with what `keys split` printed; - for standard input. Else you are asked.",
    ),
]

SHOWN_ONCE = "any {} of these open this node's keys; they are not shown again"
"""What `twinward keys split` says after the shares; a file with all that it printed is taken as it is."""
_LABEL = re.compile(r"\s*share\s+\d+\s*:\s*", re.IGNORECASE)
_SHOWN_ONCE = re.compile(re.escape(SHOWN_ONCE).replace(r"\{\}", r"\d+"))


def local_store(home: Path | None, shares: list[Share] | None = None) -> LocalKeyProvider:
    """The local key store of a home, opened as its settings say or with shares.

    Raises:
        NotFound: no key store in the home.
        BadInput: the home uses another key service.
        Unavailable: it does not open.
    """
    from twinward.core.config import Settings
    from twinward_crypto.providers.local import KEYSTORE, LocalKeyProvider

    settings = Settings.load(home)
    scheme, _, folder = settings.keys_uri.partition(":")
    if scheme not in ("local", "local-hybrid"):
        raise BadInput(f"only the local key store has shares; this node's keys are in {scheme}")
    if settings.passphrase_file is not None:
        raise BadInput("this node's keys are under a passphrase; shares stand in for a key file")
    if not (Path(folder) / KEYSTORE).is_file():
        raise NotFound(f"there is no key store in {folder}", hint="`twinward node init` makes a node and its keys")
    try:
        return LocalKeyProvider(Path(folder), shares=shares or (), make=False)
    except KeyProviderError as error:
        hint = "a sealed node: `twinward keys unseal` with enough shares"
        raise Unavailable(f"the key store does not open: {error}", hint=hint) from None


def read_shares(path: Path | None) -> list[Share]:
    """Shares from a file, one a line, or asked for one by one without showing them, until there are enough.

    Raises:
        BadInput: something is no share, or nobody is there to ask.
    """
    if path is not None:
        text = read_secret_input(path, "the shares", most=MAX_INPUT_BYTES).decode("utf-8", "replace")
        return [_share(line) for line in text.splitlines() if line.strip() and not _SHOWN_ONCE.fullmatch(line.strip())]
    if not sys.stdin.isatty():
        raise BadInput("nobody is there to type shares", hint="give them with --shares-from FILE, - for standard input")
    found: dict[int, Share] = {}
    while not found or len(found) < next(iter(found.values())).threshold:
        share = _share(typer.prompt(f"share {len(found) + 1}", hide_input=True, err=True))
        found[share.index] = share
    return list(found.values())


def _share(text: str) -> Share:
    from twinward_crypto.secret_sharing import Share

    try:
        return Share.decode(_LABEL.sub("", text, count=1))
    except MalformedKey as error:
        raise BadInput(str(error)) from None


def split(
    shares: Annotated[int, typer.Option("--shares", help="How many there are, at most 32.")] = 5,
    threshold: Annotated[int, typer.Option("--threshold", help="How many of them open the key store.")] = 3,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Split the local key store's master key into shares, and print them once. Changes nothing by itself.

    Give each to one officer, then `twinward keys seal`. Shares of earlier splits stay valid. Exit codes: 0, 2 a
    threshold that protects nothing or a key service that has no shares, 3 no key store, 7 it does not open.

    Example: twinward keys split --shares 5 --threshold 3
    """
    with errors_taught(as_json=as_json):
        if not 2 <= threshold <= shares <= 32:
            raise BadInput("2 ≤ threshold ≤ shares ≤ 32 must hold: with a threshold of 1, each share is the key")
        made = local_store(home).split_master_key(shares=shares, threshold=threshold)
        if as_json:
            show_json({"threshold": threshold, "shares": [share.encode() for share in made]})
            return
        for share in made:
            say(f"share {share.index}: {share.encode()}")
        say(SHOWN_ONCE.format(threshold))


def seal(
    shares_from: SharesOption = None, yes: YesOption = False, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Remove the key file, once enough shares have shown that they open the key store. A running node keeps running.

    Afterwards no command opens this node until `twinward keys unseal`. Exit codes: 0, 1 you said no, 2 no shares or
    nobody to ask, 3 no key store, 7 it does not open or the shares are not its own.

    Example: twinward keys seal --shares-from - --yes < shares.txt
    """
    with errors_taught(as_json=as_json):
        given = read_shares(shares_from)
        store = local_store(home, given)
        confirm("Remove the key file? Only enough shares then open this node.", yes=yes)
        store.discard_key_file(given)
        show_json({"sealed": True}) if as_json else say("sealed: the key file is gone")


def unseal(shares_from: SharesOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Write the key file again from enough shares, so that the node can start. `twinward keys seal` removes it again.

    Exit codes: 0, 2 no shares or nobody to ask, 3 no key store, 7 the shares do not open it.

    Example: twinward keys unseal
    """
    with errors_taught(as_json=as_json):
        given = read_shares(shares_from)
        local_store(home, given).restore_key_file(given)
        show_json({"sealed": False}) if as_json else say(
            "unsealed: the key file is back; seal again once the node runs"
        )
