"""What is refused with values in its text is said in the reader's language, and its values as they are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.checks import refusals
from tests.tools import ROOT
from twinward.access import justification
from twinward.access.policy_rules import checked
from twinward.audit.errors import ledger_translated
from twinward.audit.queries import AccessQuery
from twinward.breach.entry import body, written
from twinward.console.pages import TEMPLATES, said
from twinward.console.viewer import Language, Viewer, in_words, viewed_by
from twinward.core.errors import BadInput, NotAtWork, TwinwardError, Unavailable
from twinward.core.sentences import sentence
from twinward.federation.study import StudyProtocol
from twinward.outbreak.agreement import PeriodTerms
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import LogCorrupt

GERMAN = Viewer(Language.GERMAN, "Europe/Vienna")
RULE = '@id("mine") @say("this is mine") permit (principal, action, resource) when {{ {} }};'


def found_in_the_log() -> None:
    with ledger_translated():
        try:
            raise InvalidSignature("an Ed25519 signature does not verify")
        except InvalidSignature as error:
            raise LogCorrupt(f"the checkpoint kept is not this log's: {error}", first_bad_index=7) from error


REFUSED: tuple[tuple[Callable[[], object], str, str], ...] = (
    (
        lambda: justification.bounded("x" * 5000),
        "A justification has 1,000 characters at most: one sentence is enough.",
        "Eine Begründung hat höchstens 1.000 Zeichen: ein Satz genügt.",
    ),
    (
        lambda: AccessQuery.of({"since": "{0}<b>"}),
        "Since is a day, not '{0}<b>': write it as 2026-01-31.",
        "Im Feld „von“ steht ein Tag, nicht '{0}<b>': schreiben Sie ihn als 2026-01-31.",
    ),
    (
        lambda: written("x" * 5000, sentence("a title")),
        "A title has 1,000 characters at most.",
        "Ein Titel hat höchstens 1.000 Zeichen.",
    ),
    (lambda: body("…"), "A draft says something.", "Ein Entwurf sagt etwas."),
    (
        lambda: checked("permit (principal, action, resource);"),
        "A rule has no name or no sentence",
        "Eine Regel hat keinen Namen oder keinen Satz",
    ),
    (
        lambda: checked(RULE.format("context.sensitve")),
        "The policy looks at what no request has: rule mine: no request has sensitve",
        "Die Richtlinie fragt nach etwas, was keine Anfrage hat: Regel mine: keine Anfrage hat sensitve",
    ),
    (
        lambda: checked(RULE.format('context.purpose = "TREAT"')),
        "The policy does not parse: values are compared by ==, not by =",
        "Die Richtlinie ist kein gültiges Cedar: Werte vergleicht man mit ==, nicht mit =",
    ),
    (
        lambda: checked(RULE.format("context.purpose like 3")),
        "The policy does not parse: the policy engine says: right hand side",
        "Die Richtlinie ist kein gültiges Cedar: die Regelmaschine sagt auf Englisch: right hand side",
    ),
    (
        found_in_the_log,
        "The checkpoint kept is not this log's: an Ed25519 signature does not verify",
        "Der aufbewahrte Prüfpunkt ist nicht von diesem Protokoll: eine Ed25519-Unterschrift stimmt nicht",
    ),
)


def refused(do: Callable[[], object]) -> TwinwardError:
    with pytest.raises(TwinwardError) as error:
        do()
    return error.value


@pytest.mark.parametrize(("do", "english", "german"), REFUSED)
def test_what_is_refused_is_said_in_the_readers_language(do: Callable[[], object], english: str, german: str) -> None:
    error = refused(do)
    assert type(str(error)) is str
    assert said(error).startswith(english)
    with viewed_by(GERMAN):
        assert said(error).startswith(german)
        assert said(copy.copy(error)) == said(pickle.loads(pickle.dumps(error))) == said(error)


@given(st.text(max_size=80))
def test_a_value_is_said_as_it_is_and_english_is_what_it_was(value: str) -> None:
    error = BadInput(sentence("there is no account {account!r}", account=value), hint=value)
    assert (str(error), error.outside()) == (
        f"there is no account {value!r}",
        (f"there is no account {value!r}", value),
    )
    with viewed_by(GERMAN):
        message = in_words(error.outside()[0])
        assert message == f"das Konto {value!r} gibt es nicht"
        assert "<b>" not in TEMPLATES.from_string("{{ one }}").render(one=message)


@pytest.mark.parametrize(
    "value", ["read", "{account}", "{0.__class__}", "%(x)s", "<b>", "there is no account {account}"]
)
def test_a_value_is_never_looked_up_nor_filled(value: str) -> None:
    with viewed_by(GERMAN):
        assert value in said(NotAtWork(value))


def test_what_does_not_answer_tells_nothing_of_its_own() -> None:
    with viewed_by(GERMAN):
        assert "10.0.0.7" not in said(Unavailable(sentence("no answer from {address}", address="10.0.0.7")))


@pytest.mark.parametrize(
    "put_together",
    [
        "f'{name} is gone'",
        "'gone: ' + name",
        "'{} is gone'.format(name)",
        "'%s is gone' % name",
        "name or f'no {name}'",
    ],
)
def test_a_text_that_is_put_together_is_found_where_it_stands(
    put_together: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "platform").mkdir()
    room = tmp_path / "platform" / "twinward_room.py"
    head = "from twinward.core.errors import BadInput\ndef refuse(name): "
    monkeypatch.syspath_prepend(room.parent)
    monkeypatch.setattr(refusals, "ROOT", tmp_path)
    room.write_text(f"{head}raise BadInput({put_together}, hint='go')\n", "utf-8")
    with pytest.raises(ValueError, match=r"platform/twinward_room\.py:2: write sentence"):
        list(refusals.texts(room))
    room.write_text(f"{head}raise BadInput('gone', hint='go' if name else 'stay')\n", "utf-8")
    assert list(refusals.texts(room)) == ["gone", "go", "stay"]


@pytest.mark.parametrize("said", ["'gone'", "f'{self.name} is gone'", "text", "sentence(text)", ""])
def test_a_models_contradiction_that_is_no_sentence_is_found_where_it_stands(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room.py"
    monkeypatch.setattr(refusals, "ROOT", tmp_path)
    room.write_text(f"from pydantic import BaseModel\nraise ValueError({said})\n", "utf-8")
    with pytest.raises(ValueError, match=r"room\.py:2: write ValueError\(sentence"):
        list(refusals.contradictions(room))
    room.write_text("from pydantic import BaseModel\nraise ValueError(sentence('{name} is gone', name=1))\n", "utf-8")
    assert list(refusals.contradictions(room)) == ["{name} is gone"]


@pytest.mark.parametrize("model", [StudyProtocol, PeriodTerms])
def test_whatever_looks_at_a_file_from_a_page_is_a_room_behind_it(model: type[BaseModel]) -> None:
    assert set(refusals.looked_at_by(model)) <= set(refusals.rooms()), "name it in tests/checks/refusals.py"


def test_models_within_models_and_their_validators_are_found() -> None:
    found = {path.name for path in refusals.looked_at_by(StudyProtocol)}
    assert found == {"study.py", "signal_schema.py", "disease_groups.py"}


def test_every_room_behind_a_page_is_looked_through() -> None:
    found = {str(path.relative_to(ROOT / "platform/twinward")) for path in refusals.rooms()}
    assert {"access/account_desk.py", "breach/service.py", "live/service.py", "review/service.py"} <= found
