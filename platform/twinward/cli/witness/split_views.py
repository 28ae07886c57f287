"""``twinward witness evidence`` and ``twinward witness compare``: what anybody can do against a log with two faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.audit.files import read_policy
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import JsonOption, say, show_json
from twinward.core.errors import BadInput

if TYPE_CHECKING:
    from twinward_ledger.formats.note import VerifierKey


def evidence(
    file: Annotated[Path, typer.Argument(help="A split view's evidence.")],
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="The key the log is known by; again for each, if it changed.",
            show_default="what the file says, and it is printed",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a split view's evidence offline: that one log signed two checkpoints which cannot both be true.

    Needs no node, no log and no network. Give --log with the key you know: without it, the file only proves that
    *whoever holds the printed key* contradicted himself. Exit codes: 0 it is a contradiction, 2 it is not.

    Example: twinward witness evidence ./9f86d081884c7d65-120.split-view --log "twinward.example/mercy/access-log+…"
    """
    with errors_taught(as_json=as_json):
        from twinward_ledger.errors import MalformedEvidence
        from twinward_ledger.witness.evidence import MAX_EVIDENCE_BYTES, verify

        try:
            found = verify(read_input(file, most=MAX_EVIDENCE_BYTES), *map(log_key, log or ()))
        except MalformedEvidence as error:
            raise BadInput(str(error)) from None
        one, other = found.first, found.second
        if as_json:
            signers = [str(key) for key in found.signers]
            shown = {"log": signers[0], "signers": signers, "statement": found.statement, "key_given": bool(log)}
            show_json(shown | {"checkpoints": [[one.size, one.root.hex()], [other.size, other.root.hex()]]})
            return
        say(f"proven: {found.statement}")
        say(f"{one.size} events under root {one.root.hex()}")
        say(f"{other.size} events under root {other.root.hex()}")
        which = ("both",) if len(found.signers) == 1 else ("the first", "the second")
        for one_or_both, key in zip(which, found.signers, strict=True):
            say(f"{one_or_both} signed by {key}")
        if not log:
            say("compare what signed with what the hospital published: --log does it for you")


def compare(
    policy: Annotated[Path, typer.Argument(help="A quorum policy with the witnesses' URLs and one log.")],
    log_url: Annotated[
        str, typer.Option(help="Where the log's files are served.", show_default="of the policy's log line")
    ] = "",
    target: Annotated[Path, typer.Option("--out", help="Folder for evidence, if there is any.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Ask every witness what it co-signed, and hold the answers against each other and against the log's own files.

    Finds a log that shows one history to some witnesses and another to the rest, and writes the evidence. Exit codes:
    0 one history, 2 a bad policy, 7 nobody answers, 8 a split view.

    Example: twinward witness compare quorum.policy --log-url https://mercy.example/log
    """
    with errors_taught(as_json=as_json):
        from twinward.consortium.witness.split_views import compare_witnesses, keep_evidence

        found = compare_witnesses(read_policy(policy), log_url)
        files = [str(keep_evidence(target, one)) for one in found.evidence]
        if as_json:
            shown = {"seen": found.seen, "silent": found.silent, "unexplained": found.unexplained}
            show_json(shown | {"split_views": files})
        else:
            for name, size in found.seen.items():
                say(f"{name}: {size} events")
            for name, reason in found.silent.items():
                say(f"{name}: {reason}")
            for line in found.unexplained:
                say(f"cannot tell: {line}")
            for one, path in zip(found.evidence, files, strict=True):
                say(f"split view: {one.statement}; evidence in {path}")
        if files:
            raise typer.Exit(8)


def log_key(text: str) -> VerifierKey:
    """A log's key from the command line. Raises ``BadInput``."""
    from twinward_crypto.errors import MalformedKey
    from twinward_ledger.formats.note import Algorithm, VerifierKey

    hint = "a log's key is name+id+base64, as `twinward audit trust` prints it"
    try:
        key = VerifierKey.parse(text)
    except MalformedKey as error:
        raise BadInput(f"not a log's key: {error}", hint=hint) from None
    if key.algorithm is not Algorithm.ED25519:
        raise BadInput("this is a witness's key, not a log's", hint=hint)
    return key
