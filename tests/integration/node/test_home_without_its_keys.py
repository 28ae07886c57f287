"""A home whose key service is empty, or another's, is not opened, and no key is made in that service.

With a volume that is not mounted, or a setting that names another folder, a node once began anew under new keys: what
was imported then opened nowhere later.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import run
from tests.kept_homes import founded
from tests.key_services import SERVICES, Service, service
from twinward.core.config import FILE_NAME, Settings
from twinward.core.ids import new_twin_id
from twinward.node import create_node, open_node
from twinward_crypto.errors import KeyNotFound
from twinward_crypto.keys import TenantId
from twinward_crypto.providers import open_provider

COMMANDS = (
    ("node", "status"),
    ("node", "serve", "--port", "0"),
    ("node", "backup", "never.twbackup"),
    ("node", "add-system", "ward", "--role", "clinician"),
    ("keys", "rotate", "--retire", "--yes"),
    ("twin", "list"),
    ("twin", "import", "empty.ndjson"),
    ("audit", "verify"),
)


EACH = [pytest.param(name, marks=() if name == "local" else pytest.mark.slow) for name in SERVICES]


@pytest.fixture(scope="module", params=EACH)
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(request.param, tmp_path_factory.mktemp("service")) as one:
        yield one


@pytest.fixture(scope="module")
def made(keys: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node on it, whose first KEK was retired: version 2 wraps the key of its one twin."""
    home = tmp_path_factory.mktemp("home") / "node"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINWARD_KEYS", keys.uri)
        node = create_node(Settings.load(home))
        node.keyring.create(new_twin_id(0))
        node.keyring.rotate()
        node.keyring.retire()
        node.close()
    return home


def held_by(uri: str) -> tuple[int, ...]:
    """The KEKs of the hospital in a key service."""
    try:
        provider = open_provider(uri)
    except KeyNotFound:
        return ()
    versions = provider.versions(TenantId("st-anna"))
    provider.close()
    return versions


def refusal(home: Path, *command: str) -> str:
    done = run(*command, "--home", str(home), *(() if command[1] == "serve" else ("--json",)))
    assert done.exit_code == 7, (command, done.output)
    return done.output


@pytest.mark.parametrize("keys", SERVICES[:1], indirect=True)
def test_no_command_begins_a_home_anew(
    keys: Service, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINWARD_KEYS", keys.elsewhere)
    monkeypatch.chdir(tmp_path)
    Path("empty.ndjson").write_text("")
    before = {one: one.read_bytes() for one in made.rglob("*") if one.is_file() and one.suffix != ".lock"}
    for command in COMMANDS:
        refusal(made, *command)
    after = {one: one.read_bytes() for one in made.rglob("*") if one.is_file() and one.suffix != ".lock"}
    assert after == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.ndjson"]


def test_an_empty_key_service_is_refused_and_stays_empty(
    keys: Service, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINWARD_KEYS", keys.elsewhere)
    told = json.loads(refusal(made, "node", "status"))["error"]
    if keys.is_local:
        assert "no key store" in told["message"]
        assert not Path(keys.elsewhere.partition(":")[2]).exists(), "not even the folder"
    else:
        assert told["kind"] == "KeysNotOwn"
        assert "holds no key of st-anna: twins' keys here are wrapped under KEK 2" in told["message"]
    assert held_by(keys.elsewhere) == ()
    monkeypatch.setenv("TWINWARD_KEYS", keys.uri)
    with open_node(made) as node:
        assert node.keyring.census().keks == (2,)


def test_another_nodes_keys_are_refused_and_gain_nothing(
    keys: Service, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINWARD_KEYS", keys.elsewhere)
    create_node(Settings.load(tmp_path / "other")).close()
    noted = json.loads(refusal(made, "node", "status"))["error"]
    assert (noted["kind"], "another node" in noted["message"]) == ("KeysNotOwn", True)
    assert held_by(keys.elsewhere) == (1,)
    if keys.is_local:
        shutil.rmtree(keys.elsewhere.partition(":")[2])


@pytest.mark.parametrize("keys", SERVICES[:1], indirect=True)
def test_a_home_that_noted_no_log_key_is_held_against_its_signed_log(
    keys: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINWARD_KEYS", f"local:{tmp_path / 'own'}")
    node = create_node(Settings.load(tmp_path / "node"))
    node.heartbeat()
    node.audit.checkpoint_and_anchor()
    node.close()
    settings = tmp_path / "node" / FILE_NAME
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if not line.startswith("log_key")))
    with open_node(tmp_path / "node"):
        pass
    monkeypatch.setenv("TWINWARD_KEYS", f"local:{tmp_path / 'foreign'}")
    create_node(Settings.load(tmp_path / "other")).close()
    assert "another node" in refusal(tmp_path / "node", "node", "status")


def test_the_keys_of_another_member_are_not_made_anew_either(tmp_path: Path) -> None:
    founded(tmp_path / "node").close()
    keys = (tmp_path / "node/peers/northgate/keys").rename(tmp_path / "aside")
    assert "no key store" in refusal(tmp_path / "node", "node", "status")
    assert not (tmp_path / "node/peers/northgate/keys").exists()
    keys.rename(tmp_path / "node/peers/northgate/keys")
    assert run("node", "status", "--home", str(tmp_path / "node")).exit_code == 0
