"""A ward for tests: the small hospital, its live twins, patients and a gateway that sends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from tests.integration.fhir.hospital import Hospital
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.clock import iso
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.live.alerts.webhook import Webhook
from twinward.live.intake.lines import read_lines
from twinward.live.intake.subjects import twins_by_name
from twinward.live.models import Answer
from twinward.live.parts import LiveParts
from twinward.live.service import Live
from twinward.live.storage.database import LiveDatabase
from twinward.twins.models import ImportRecord, PatientImport
from twinward_crypto.testing.memory_provider import MemoryKeyProvider

GATEWAY = Principal("icu-gateway", Role.SYSTEM)
NURSE = Principal("nurse-kim", Role.CLINICIAN, "Kim", "icu")
FILING = AccessContext(GATEWAY, Purpose.RECORD_MANAGEMENT)
CARING = AccessContext(NURSE, Purpose.TREATMENT)
UNITS = {"8867-4": "/min", "59408-5": "%", "9279-1": "/min", "8310-5": "Cel", "8480-6": "mm[Hg]", "2823-3": "mmol/L"}


class Ward(Hospital):
    """``live`` on a file of its own."""

    def __init__(self, folder: Path, provider: MemoryKeyProvider | None = None, url: str = "") -> None:
        super().__init__(folder, provider)
        self.database = LiveDatabase(folder / "live.db", self.keyring)
        subjects = partial(twins_by_name, self.vault)
        webhook = Webhook(url, "St. Anna", self.keyring) if url else None
        self.parts = LiveParts(self.database, self.keyring, self.access, self.authority, subjects, self.clock, webhook)
        self.live = Live(self.parts)
        self._seq = 0

    def close(self) -> None:
        self.live.close()
        super().close()

    def reopen(self) -> Ward:
        self.close()
        reopened = Ward(self.folder, self.provider)
        reopened.clock.at_ms = self.clock.at_ms
        return reopened

    def admit(self, name: str) -> TwinId:
        """A patient and a twin."""
        content = json.dumps({"resourceType": "Patient", "id": name}).encode()
        record = ImportRecord(f"Patient/{name}", "Patient", Category.DEMOGRAPHICS, content)
        return self.twins.ingest(FILING, PatientImport(f"Patient/{name}", (record,))).twin

    def line(
        self, value: float | None = 72, *, code: str = "8867-4", at_ms: int | None = None, **members: Any
    ) -> dict[str, Any]:
        """A reading as a gateway writes it, under its next number."""
        self._seq += 1
        reading = {
            "seq": self._seq,
            "code": code,
            "value": value,
            "unit": UNITS.get(code, "1"),
            "time": iso(self.clock.now_ms() if at_ms is None else at_ms),
        }
        if "subject" not in members:
            reading["device"] = "monitor-7"
        return {name: one for name, one in (reading | members).items() if one is not None}

    def send(
        self, *lines: dict[str, Any] | bytes, context: AccessContext = FILING, source: str = "gw-1"
    ) -> list[Answer]:
        """A batch."""
        raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines]
        return self.live.intake.take(context, source, read_lines(b"\n".join(raw)))
