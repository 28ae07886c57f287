"""Rows say what became of their events; charts say in text what they show in colour."""

from __future__ import annotations

from xml.etree import ElementTree

from twinward.audit.events.wording import row_sentence
from twinward.audit.models import AccessEvent, AuditRow, IndexedAccess, RowState
from twinward.console import charts
from twinward.console.rows import shown
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward_ledger.formats.leaf import LeafKind
from twinward_ledger.proofs.bundle import Opening

EVENT = AccessEvent(
    at_ms=1_767_225_600_000,
    agent="dr-lee",
    role=Role.CLINICIAN,
    unit="cardiology",
    action=Action.READ,
    purpose=Purpose.TREATMENT,
    twin=TwinId("00000000-0000-7000-8000-000000000001"),
    categories=(Category.LABS, Category.VITALS),
    decision="permit",
    reason="clinicians may",
    policy_hash="",
    consent_version=2,
)


def test_a_row_without_content_still_says_what_became_of_it() -> None:
    for state in (RowState.ERASED, RowState.DAMAGED):
        row = AuditRow(3, LeafKind.ACCESS, 1_767_225_600_000, state, None, None)
        assert row_sentence(row)
        assert shown(row)["event"] is None
        assert shown(row)["opening"] == {}


def test_an_opening_never_shows_in_a_repr() -> None:
    opening = Opening(b"k" * 32, b"s" * 32, b"event of Jane")
    row = AuditRow(3, LeafKind.ACCESS, 0, RowState.OPEN, None, EVENT, opening)
    assert "Jane" not in repr(row)
    assert "dr-lee" not in repr(row)


def test_charts_are_well_formed_and_say_their_numbers() -> None:
    events = [
        IndexedAccess(
            index=n,
            at_ms=EVENT.at_ms + n * 60_000,
            agent=EVENT.agent,
            role=EVENT.role,
            unit=EVENT.unit,
            action=EVENT.action,
            purpose=EVENT.purpose,
            twin=EVENT.twin,
            categories=EVENT.categories,
            permitted=n % 3 != 0,
            detail="",
        )
        for n in range(9)
    ]
    for chart in (charts.timeline(events), charts.by_role(events), charts.timeline(events[:1])):
        ElementTree.fromstring(chart)
        assert "style=" not in chart
    assert "9 accesses over time, 3 of them refused" in charts.timeline(events)
    assert "clinician: 9, 3 refused" in charts.by_role(events)
    assert charts.timeline([]) == charts.by_role([]) == "<p>No events yet.</p>"


def test_chart_labels_are_escaped() -> None:
    assert "<script>" not in charts._text(0, 0, "<script>")
