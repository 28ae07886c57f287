"""What the rooms behind the console's pages refuse with, so that the catalogue holds it in every language.

A refusal's text and hint are either one string, or made of values by ``core.sentences``: a text put together from
pieces could be said in English only. What a model of pydantic's finds contradictory is a ``ValueError`` of a sentence,
or ``core.field_faults`` could not tell it from a library's.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

from pydantic import BaseModel

from tests.tools import ROOT
from twinward.core.errors import TwinwardError, Unavailable
from twinward.core.sentences import of_numbers

_PACKAGE: Final = ROOT / "platform/twinward"
_BEHIND_PAGES: Final = (
    *("access/*.py", "access/oidc/people.py", "breach/*.py", "console/*.py", "erasure/*.py", "overview/*.py"),
    *("recruitment/*.py", "review/*.py", "audit/*.py", "audit/events/heads.py", "audit/proofs/proofs.py"),
    *("api/audit.py", "core/errors.py", "core/clock.py", "core/turns.py"),
    *("live/assignments.py", "live/errors.py", "live/service.py", "live/signals.py", "live/timeseries.py"),
    *("live/alerts/desk.py", "live/alerts/errors.py", "live/alerts/models.py"),
    *("twins/service.py", "twins/state/states.py", "vault/errors.py", "vault/keys/keyring.py"),
    *("federation/invitation.py", "federation/signed_json.py", "federation/approval.py", "node/study_inbox.py"),
    *("federation/study.py", "federation/disease_groups.py", "features/signal_schema.py"),
    *("vault/keys/wrapped_keys.py", "outbreak/agreement.py", "outbreak/forecast.py", "things/errors.py"),
)
_MACHINES: Final = frozenset(
    f"access/{one}.py"
    for one in ("client_certificates", "client_keys", "client_tokens", "fresh_proofs", "interfaces", "scopes")
)
"""What only a program asks for, over the API: in English."""
_FOUND_IN_A_LOG: Final = frozenset(("LogCorrupt", "NoSuchEntry", "MalformedCheckpoint", "InvalidSignature"))
_NAMES: Final = ("name", "origin", "whose")
"""What of a text is no number, by how its value's own name ends."""
_SAID_AGAIN: Final = frozenset(("sentence", "counted", "listed", "joined", "message", "gettext", "ngettext"))


def rooms() -> list[Path]:
    """The files whose refusals a page can show."""
    found = {path for pattern in _BEHIND_PAGES for path in _PACKAGE.glob(pattern)}
    return sorted(path for path in found if str(path.relative_to(_PACKAGE)) not in _MACHINES)


def texts(path: Path) -> Iterator[str]:
    """Every text that stands there as one string; values in braces are another extractor's.

    Raises:
        ValueError: for one that is put together from pieces, naming its line.
    """
    yield from contradictions(path)
    for said in _refusals(path):
        for part in _parts(said):
            if isinstance(part, ast.Constant):
                if isinstance(part.value, str) and part.value and not part.value.startswith("twinward "):
                    yield part.value
                continue
            where = f"{path.relative_to(ROOT)}:{part.lineno}"
            raise ValueError(f"{where}: write sentence(…, name=value), or it stays English: {ast.unparse(part)}")


def contradictions(path: Path) -> Iterator[str]:
    """The template of each sentence that a model of pydantic's in this file finds contradictory, in their order.

    Raises:
        ValueError: for one that is no sentence, naming its line.
    """
    tree = ast.parse(path.read_text("utf-8"))
    imported = {one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    raised = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and _name(one.func) == "ValueError"]
    for call in raised if "pydantic" in imported else ():
        said = call.args[0] if call.args else call
        if not (
            isinstance(said, ast.Call) and _name(said.func) == "sentence" and isinstance(said.args[0], ast.Constant)
        ):
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            raise ValueError(
                f"{where}: write ValueError(sentence(…)), or it is told as a library's: {ast.unparse(call)}"
            )
        yield str(said.args[0].value)


def looked_at_by(model: type[BaseModel]) -> Iterator[Path]:
    """The files whose validators look at what a model is read from: its own, and those of what its fields are of."""
    seen: set[object] = set()

    def within(kind: object) -> Iterator[str]:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
            seen.add(kind)
            yield kind.__module__
            for field in kind.model_fields.values():
                yield from within(field.annotation)
                yield from (named.func.__module__ for named in field.metadata if hasattr(named, "func"))
        yield from (named.func.__module__ for named in getattr(kind, "__metadata__", ()) if hasattr(named, "func"))
        for part in get_args(kind):
            yield from within(part)

    yield from {ROOT / "platform" / f"{name.replace('.', '/')}.py" for name in within(model)}


def of_the_ledger() -> Iterator[str]:
    """What the log's own library finds wrong with a log, with numbers as ``core.sentences.of_numbers`` takes them.

    What holds a name is left out: it is told as the library says it. So is the cause behind a finding: it is told as a
    finding of its own (``audit.errors.of_the_ledger``).
    """
    for path in sorted((ROOT / "ledger/twinward_ledger").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in _FOUND_IN_A_LOG and node.args:
                said = node.args[0]
                parts = said.values if isinstance(said, ast.JoinedStr) else [said]
                values = [ast.unparse(one.value) for one in parts if isinstance(one, ast.FormattedValue)]
                if isinstance(said, ast.Constant | ast.JoinedStr) and not any(one.endswith(_NAMES) for one in values):
                    written = "".join(_with_a_number(one) for one in parts)
                    yield of_numbers(written.removesuffix(": {error}").removesuffix(" ({error})")).template


def _with_a_number(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return "{error}" if ast.unparse(part.value) == "error" else "0"


def _refusals(path: Path) -> Iterator[ast.expr]:
    module = importlib.import_module(".".join(path.relative_to(ROOT / "platform").with_suffix("").parts))
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and _told(getattr(module, _name(node.func), None)):
            yield from node.args
            yield from (given.value for given in node.keywords if given.arg in ("message", "hint"))
        elif isinstance(node, ast.ClassDef) and _told(getattr(module, node.name, None)):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and _name(call.func) == "__init__":
                    yield from call.args
                    yield from (given.value for given in call.keywords if given.arg == "hint")
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if "hint" in {_name(one).strip("_").lower() for one in targets}:
                yield node.value


def _told(kind: object) -> bool:
    """Whether a page tells an error's own words."""
    if not isinstance(kind, type) or not issubclass(kind, TwinwardError):
        return False
    return not issubclass(kind, Unavailable) or kind.own_words


def _parts(said: ast.expr) -> Iterator[ast.expr]:
    match said:
        case ast.IfExp():
            yield from (part for one in (said.body, said.orelse) for part in _parts(one))
        case ast.BoolOp():
            yield from (part for one in said.values for part in _parts(one))
        case ast.Constant():
            yield said
        case ast.JoinedStr():
            yield said
        case ast.BinOp() | ast.Call() if _name(getattr(said, "func", said)) not in _SAID_AGAIN and any(
            isinstance(one, ast.Constant | ast.JoinedStr) and isinstance(getattr(one, "value", ""), str)
            for one in _own(said)
        ):
            yield said


def _own(said: ast.BinOp | ast.Call) -> tuple[ast.expr, ...]:
    """What a sum, or a method such as ``format``, is made of."""
    if isinstance(said, ast.BinOp):
        return (said.left, said.right)
    return (said.func.value,) if isinstance(said.func, ast.Attribute) else ()


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
