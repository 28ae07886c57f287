"""Makes ``before_revisions.tar.xz``: a small, complete home of the release whose small stores had no revisions.

It was run once, on that release (commit 58710ae: its sources first on PYTHONPATH), and is kept to show what is in the
home: ``python tests/vectors/homes/make.py before_revisions.tar.xz``. The keys are local, under the passphrase below.
Time stands in it: every date is in the hour after ``MADE_AT_MS``, and who opens it brings a clock of that hour.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from twinward.access.account_events import Doer
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessRequest, Principal
from twinward.client import VendorClient
from twinward.config import Settings
from twinward.demo.serving import served
from twinward.federation.answered_rounds import AnsweredRound, AnsweredRounds
from twinward.fhir.cohort import generate_cohort
from twinward.node import SYSTEM, create_node
from twinward.twins.models import DIRECTORY
from twinward.vault.interfaces import Member
from twinward.vocabulary import Action, Category, Purpose, Role

MADE_AT_MS = 1_768_435_200_000
PASSPHRASE = "a passphrase that guards made-up patients"
OFFICER = Principal("olga", Role.OFFICER, "Olga Officer")
CLINICIAN = Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology")
VENDOR = Principal("acme", Role.VENDOR, "Acme Diagnostics")
PASSWORD = "seven lamps over snow"
YES = Provision(
    effect="permit",
    roles=(Role.SYSTEM, Role.VENDOR),
    purposes=(Purpose.SIMILARITY,),
    categories=(Category.FEATURES,),
)
STUDY = bytes(range(32))
MOST = 24
"""Records of a patient: the home is to be small."""


class Clock:
    """Moves on by a millisecond a look."""

    def __init__(self, now_ms: int) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        self.at_ms += 1
        return self.at_ms


def make(home: Path, passphrase: Path) -> dict[str, object]:
    """The home, and what a test reads back from it."""
    clock = Clock(MADE_AT_MS)
    settings = Settings(home=home, passphrase_file=passphrase, modes=("gated",), log_key="")
    node = create_node(settings, clock=clock)
    try:
        cohort = [replace(one, records=one.records[:MOST]) for one in generate_cohort(5, 5)]
        imported = [(one, node.twins.ingest(SYSTEM, one)) for one in cohort]
        twins = [receipt.twin for one, receipt in imported if one.reference != DIRECTORY]
        node.accounts.add_person(OFFICER, PASSWORD)
        node.accounts.visit("olga", 5)
        tokens = {one.id: node.accounts.add_system(one) for one in (CLINICIAN, VENDOR)}
        node.audit.checkpoint_and_anchor()
        node.access.set_consents(OFFICER, [(twin, (YES,)) for twin in twins])
        node.access.set_consents(OFFICER, [(twins[0], (YES,))])
        node.compactor.run(twins[:3])
        for number in range(3):
            node.twins.targets.change(
                CLINICIAN, Purpose.TREATMENT, twins[0], {"bmi": lambda _, made={"value": 20 + number}: made}
            )
        node.consortium.grant_queries(VENDOR.id, node.settings.vendor_budget)
        node.refresh_cohort()
        similarity = node.similarity()
        levels = np.asarray(similarity.cohort.levels, dtype=np.int64)[0]
        schema = similarity.cohort.schema
        values = {
            one.name: one.low + int(level) * schema.step(one.name)
            for one, level in zip(schema.features, levels, strict=True)
        }
        with served(node) as url, VendorClient(url, tokens["acme"]) as vendor:
            matches = vendor.query_gated(values, threshold=1.0)
        node.erasures.order(
            [
                AccessRequest(OFFICER, Action.SHRED, Purpose.PATIENT_REQUEST, twins[1], frozenset({Category.LABS})),
                AccessRequest(OFFICER, Action.SHRED, Purpose.PATIENT_REQUEST, twins[4]),
            ]
        )
        node.erasures.finish()
        rounds = AnsweredRounds(home / "studies.db")
        for number in (1, 2):
            rounds.keep(STUDY, AnsweredRound(number, hashlib.sha256(bytes([number])).digest(), b"masked %d" % number))
        rounds.close()
        node.accounts.change("dr-lee", lambda one: one.ended(), "sessions ended", Doer())
        tokens["dr-lee"] = node.accounts.add_system(Principal("dr-kim", Role.CLINICIAN, "Dr. Kim"))
        node.accounts.by_token(tokens["dr-lee"])
        node.heartbeat()
        clock.at_ms = MADE_AT_MS + 3_000_000
        node.audit.checkpoint_and_anchor()
        told: dict[str, object] = {
            "passphrase": PASSPHRASE,
            "clock_ms": clock.at_ms,
            "shredded": {"labs": twins[1], "whole": twins[4]},
            "password": PASSWORD,
            "tokens": {"acme": tokens["acme"], "dr-kim": tokens["dr-lee"]},
            "twins": twins,
            "matches": len(matches.handles),
            "queries_left": matches.budget_left,
            "log_size": node.log.store.size(),
            "rows": node.store.count(),
            "members": sum(isinstance(one, Member) for twin in twins for one in node.store.of_twin(twin)),
            "patients": [one.reference for one in cohort if one.reference != DIRECTORY],
            "consents": {twin: node.consents.current(twin).version for twin in twins},
            "accounts": sorted(one.id for one in node.accounts.records()),
            "anchored": node.audit.anchorer.journal.newest()[1].statement.size,
            "witnesses": {one.key.name: one._state.newest(node.log.origin)[0] for one in node.witnesses},
        }
        return told
    finally:
        node.close()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        home, passphrase = Path(folder) / "home", Path(folder) / "passphrase"
        passphrase.write_text(PASSPHRASE + "\n")
        passphrase.chmod(0o600)
        told = make(home, passphrase)
        settings = (home / "twinward.toml").read_text().splitlines(keepends=True)
        (home / "twinward.toml").write_text("".join(one for one in settings if "passphrase_file" not in one))
        (home / "told.json").write_text(json.dumps(told, indent=1) + "\n")
        with tarfile.open(target, "w:xz", preset=9) as archive:
            archive.add(home, "home")
    sys.stdout.write(f"{json.dumps(told, indent=1)}\n{target.stat().st_size} bytes\n")
