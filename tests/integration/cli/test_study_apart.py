"""A charged study over three hospitals that share a chain and nothing else: homes, key services, accounts, daemons."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cli.conftest import PASSWORD, run
from tests.integration.cli.test_site_serve import Served
from twinward.access.interfaces import Principal
from twinward.consortium.witness.home import WitnessSettings, create_witness
from twinward.core.config import CONSORTIUM_FILE, Settings
from twinward.core.vocabulary import Role
from twinward.demo.display import Silent
from twinward.demo.training import fill_vault
from twinward.federation.models import COHORT
from twinward.federation.stays.simulated import simulate_stays
from twinward.node import create_node, open_node

pytestmark = pytest.mark.slow

HOSPITALS = ("east", "north", "south")
CAP = 300_000


@dataclass
class Apart:
    """Three homes, each with keys of its own."""

    folder: Path

    def home(self, name: str) -> Path:
        return self.folder / name / "home"

    def run(self, name: str, *arguments: str) -> str:
        done = run(*arguments, "--home", str(self.home(name)))
        assert done.exit_code == 0, done.output
        return done.stdout

    def spent(self) -> list[tuple[int, int]]:
        with open_node(self.home("east")) as node:
            accounts = [node.consortium.budgets.privacy(name, COHORT) for name in HOSPITALS]
        return [(one.reserved_micros, one.spent_micros) for one in accounts]


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Apart:
    made = Apart(tmp_path_factory.mktemp("apart"))
    cards = []
    for name in HOSPITALS:
        keys = f"local:{made.folder / name / 'keys'}"
        settings = WitnessSettings(name=name, url=f"https://{name}.example", keys=keys)
        witness = create_witness(made.folder / name / "witness", settings)
        cards.append(witness.card())
        witness.close()
    for name in HOSPITALS:
        home, keys = made.home(name), f"local:{made.folder / name / 'keys'}"
        chain = f"embedded:{made.folder / 'chain.db'}"
        settings = Settings(home=home, tenant=name, hospital=name.title(), keys=keys, chain=chain, quorum=1)
        create_node(settings, cards=cards).close()
        if name != HOSPITALS[0]:
            shutil.copy2(made.home(HOSPITALS[0]) / CONSORTIUM_FILE, home / CONSORTIUM_FILE)
        with open_node(home) as node:
            assert set(node.consortium.keys) == {name}
            assert node.consortium.cap_privacy(name, COHORT, CAP) is None
            node.accounts.add_person(Principal("olga", Role.OFFICER, "Olga Officer"), PASSWORD)
            fill_vault(node, name, simulate_stays(40, HOSPITALS.index(name)), (), Silent())
            if name == "east":
                node.accounts.add_system(Principal("marie", Role.RESEARCHER, "Marie Research"))
    return made


@pytest.fixture(scope="module")
def served(apart: Apart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    folder = tmp_path_factory.mktemp("s")
    with ExitStack() as stack:
        made = {}
        for name in HOSPITALS[1:]:
            made[name] = Served(apart.home(name), name, folder / f"{name}.sock")
            stack.callback(made[name].kill)
        yield made


def test_every_hospital_is_charged_by_its_own_key_alone(
    apart: Apart, served: dict[str, Served], tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    keys = []
    for name in HOSPITALS[1:]:
        keys += ["--key", str(tmp_path / f"{name}.key.json")]
        apart.run(name, "study", "keygen", "--out", keys[-1])
    file, out = tmp_path / "apart-1.toml", tmp_path / "apart-1.invitation.json"
    named = [word for one in HOSPITALS for word in ("--hospital", one)]
    apart.run("east", "study", "new", str(file), *named)
    apart.run("east", "study", "invite", str(file), "--as", "marie", "--out", str(out), *keys)
    sites = [word for name, one in served.items() for word in ("--site", f"{name}={one.place}")]
    asked = ("study", "run", str(file), "--as", "marie", "--yes", *sites, "--home", str(apart.home("east")))
    for name in HOSPITALS:
        refused = run(*asked)
        assert (refused.exit_code, "did not approve" in refused.stderr or "no officer" in refused.stderr) == (6, True)
        assert apart.spent() == [(0, 0)] * 3
        approve = ("study", "approve", str(out), "--as", "olga", "--password-file", str(password), "--yes")
        apart.run(name, *approve)
    done = run(*asked)
    assert done.exit_code == 0, done.output
    ((reserved, cost),) = set(apart.spent())
    assert (reserved, cost > 0) == (0, True)
    assert run(*asked).exit_code == 4
