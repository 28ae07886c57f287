"""Reminders put to work: medication is FHIR's and the vault's, who is on the wards is told by devices and beds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from twinward.access.interfaces import Permit
from twinward.core.vocabulary import TwinId
from twinward.fhir.mapping.medication_plans import charted_of, plan_of
from twinward.live.medication.service import Chart, Reminders
from twinward.node.node import Node
from twinward.vault.interfaces import Record


def reminders(node: Node) -> Reminders:
    """Reminders of a node's medication."""

    def chart_of(permit: Permit) -> Chart:
        requests = node.vault.read_twin(permit, record_type="MedicationRequest")
        given = node.vault.read_twin(permit, record_type="MedicationAdministration")
        plans = [one for one in map(plan_of, _trees(requests)) if one is not None]
        return plans, [one for one in map(charted_of, _trees(given)) if one is not None]

    def patients() -> list[TwinId]:
        found = [*node.live.ward.with_devices(), *node.things.in_beds()]
        return [one for one in found if not node.keyring.is_shredded(one)]

    zone = ZoneInfo(node.settings.time_zone)
    return Reminders(node.live.parts, node.live.watch, chart_of, patients, node.accounts.named, zone)


def _trees(records: list[Record]) -> Iterator[dict[str, Any]]:
    for record in records:
        try:
            found = msgspec.json.decode(record.content)
        except msgspec.DecodeError:  # deleted, or filed by another release
            continue
        if isinstance(found, dict):
            yield found
