"""One real node with six made-up patients, and the real command line over it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.command_line import PROGRAM
from tests.kept_homes import copied
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.config import Settings
from twinward.core.vocabulary import Category, Purpose, Role
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, create_node, open_node
from twinward.twins.models import DIRECTORY

PASSWORD = "correct horse battery"
OFFICER = Principal("olga", Role.OFFICER, "Olga Officer", "data office")
SIMILARITY_YES = Provision(
    effect="permit",
    roles=(Role.SYSTEM, Role.VENDOR),
    purposes=(Purpose.SIMILARITY,),
    categories=(Category.FEATURES,),
)


@dataclass(frozen=True)
class Hospital:
    """A node's home and whom it knows."""

    home: Path
    twins: tuple[str, ...]
    vendor_token: str

    def run(self, *arguments: str, **options: Any) -> Result:
        """One command on this node. Whatever happens, nobody sees a traceback."""
        return run(*arguments, "--home", str(self.home), **options)

    def asked(self, *arguments: str, code: int = 0, **options: Any) -> Any:
        """One command with --json; its answer."""
        done = self.run(*arguments, "--json", **options)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)


def run(*arguments: str, **options: Any) -> Result:
    """One command. It ends by itself, with an exit code and without a traceback."""
    env = {"COLUMNS": "200", "TERM": "dumb"} | options.pop("env", {})
    done = CliRunner(env=env).invoke(PROGRAM, list(arguments), **options)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert "Traceback" not in done.output
    return done


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """One for all tests of a file, in which what a test erases stays erased."""
    return make_hospital(tmp_path_factory.mktemp("cli") / "node")


def make_hospital(home: Path, *, consenting: bool = True) -> Hospital:
    """Six patients who consent to similarity search unless told otherwise, an officer, a clinician, a vendor."""
    made = copied(("hospital", consenting), home, lambda first: _found(first, consenting=consenting))
    return replace(made, home=home)


def _found(home: Path, *, consenting: bool) -> Hospital:
    node = create_node(Settings.load(home))
    try:
        imported = [
            (one, node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one))
            for one in generate_cohort(6, 1)
        ]
        twins = [receipt.twin for one, receipt in imported if one.reference != DIRECTORY]
        if consenting:
            node.access.set_consents(
                AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (SIMILARITY_YES,)) for twin in twins]
            )
        node.accounts.add_person(OFFICER, PASSWORD)
        node.accounts.add_system(Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology"))
        token = node.accounts.add_system(Principal("acme", Role.VENDOR, "Acme Diagnostics"))
        node.consortium.grant_queries("acme", node.settings.vendor_budget)
        node.audit.checkpoint_and_anchor()
    finally:
        node.close()
    return Hospital(home, tuple(twins), token)


def fill_vaults(home: Path, count: int) -> None:
    """As many patients at each of the home's hospitals, each with a SYNTHETIC stay and consent to research."""
    from twinward.demo.display import Silent  # here, for it loads what trains
    from twinward.demo.training import fill_vault
    from twinward.federation.stays.simulated import simulate_stays

    with open_node(home) as node:
        for number, name in enumerate(node.settings.witnesses):
            fill_vault(node, name, simulate_stays(count, number), (), Silent())


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "TOKEN", "TOKENS_FILE", "KNOWN_HOSPITALS", "PASSPHRASE_FILE", "DEBUG", "TENANT"):
        monkeypatch.delenv(f"TWINWARD_{name}", raising=False)
