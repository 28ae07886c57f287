"""The restore drills of platform/docs/drills.md, as they stand there, on a machine that has nothing of the node's.

The node's home, its keys' folder and the files that its settings name are taken away before the restore, and no
variable of ours is set but those that the drill names.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from tests.integration.cli.conftest import run
from tests.key_services import SERVICES, Service, reread, service, soft_hsm_config, soft_hsm_module
from tests.tools import ROOT
from twinward.core.config import FILE_NAME, Settings
from twinward.core.ids import new_twin_id
from twinward.node import create_node

PAGE = ROOT / "platform" / "docs" / "drills.md"
HEADINGS = {
    "local": "The local key store",
    "local-hybrid": "The local key store",
    "pkcs11": "A PKCS#11 token",
    "transit": "Vault's transit engine",
    "aws-kms": "AWS KMS",
}


@dataclass(frozen=True)
class Drill:
    """A key service, and the two machines: the node's, and one that has nothing but what is carried to it."""

    keys: Service
    node: Path
    carried: Path
    home: Path
    patch: pytest.MonkeyPatch

    def typed(self, lines: str) -> list[Result]:
        """Run lines as a shell does that stops at the first command that fails: their outcomes."""
        done: list[Result] = []
        for line in lines.splitlines():
            verb, *words = shlex.split(os.path.expandvars(line))
            if verb == "export":
                self.patch.setenv(*words[0].split("=", 1))
            elif verb == "unset":
                self.patch.delenv(words[0])
            else:
                assert verb == "twinward", line
                done.append(run(*words))
            if done and done[-1].exit_code:
                break
        return done

    def burn_down(self) -> None:
        """Carry the key service over by its own means; nothing else of the node's machine is left."""
        old = Path(self.keys.environment.get("SOFTHSM2_CONF", "/")).parent
        if self.keys.name == "pkcs11":
            config = soft_hsm_config(self.carried)
            shutil.copytree(old / "tokens", self.carried / "tokens", dirs_exist_ok=True)
            shutil.rmtree(old / "tokens")
            self.patch.setenv("SOFTHSM2_CONF", str(config))
            reread(soft_hsm_module())
        elif self.keys.is_local:
            shutil.rmtree(self.keys.uri.partition(":")[2])
        names = {"pkcs11": ["pin"], "transit": ["token", "ca.pem"]}.get(self.keys.name, [])
        for name, path in zip(names, self.keys.files, strict=True):
            shutil.copy2(path, self.carried / name)
            path.rename(path.with_name(f"{path.name}.burnt"))
        shutil.rmtree(self.node.parent)


def blocks(name: str) -> tuple[str, str]:
    """What the page has an operator type: on the node's machine, and on the other one."""
    section = PAGE.read_text().split(f"## {HEADINGS[name]}\n")[1].split("\n## ")[0]
    first, second = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return first, second


@pytest.fixture(params=[pytest.param(name, marks=() if name == "local" else pytest.mark.slow) for name in SERVICES])
def drill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drill]:
    (tmp_path / "service").mkdir()
    with service(request.param, tmp_path / "service") as keys, pytest.MonkeyPatch.context() as patch:
        one = Drill(keys, tmp_path / "machine/node", tmp_path / "carried", tmp_path / "elsewhere/drill", patch)
        one.carried.mkdir()
        one.home.parent.mkdir()
        patch.chdir(one.home.parent)
        patch.setenv("TWINWARD_KEYS", keys.uri)
        node = create_node(Settings.load(one.node))
        patch.delenv("TWINWARD_KEYS")
        node.keyring.create(new_twin_id(0))
        node.heartbeat()
        node.audit.checkpoint_and_anchor()
        node.close()
        places = {
            "NODE": one.node,
            "CARRIED": one.carried,
            "DRILL": one.home,
            "MODULE": "",
            "VAULT": "",
            "ENDPOINT": "",
        }
        if keys.name == "pkcs11":
            places["MODULE"] = soft_hsm_module()
        for name, pattern in (("VAULT", r"transit:(https://[^/]+)/"), ("ENDPOINT", r"endpoint=(\S+)")):
            if found := re.search(pattern, keys.uri):
                places[name] = found[1]
        for name, place in places.items():
            patch.setenv(name, str(place))
        yield one


def test_what_the_page_says_brings_a_node_back_from_nothing(drill: Drill) -> None:
    before, after = blocks(drill.keys.name)
    (made,) = drill.typed(before)
    assert made.exit_code == 0, made.output
    assert "peers/lakeside/keys/master.key" in made.stdout
    drill.burn_down()

    *_, last = done = drill.typed(after)
    assert (len(done), last.exit_code) == (3, 0), last.output
    assert "TWINWARD_KEYS" not in os.environ
    assert "wraps 1 twin's key" in run("keys", "status", "--home", str(drill.home)).stdout
    named = tomllib.loads((drill.home / FILE_NAME).read_text()).get("keys", "")
    expected = {"local": "", "local-hybrid": f"local-hybrid:{drill.home / 'keys'}", "aws-kms": drill.keys.uri}
    assert named == expected.get(drill.keys.name, named)
    if drill.keys.files:
        assert str(drill.carried) in named, "where its files are now"
    assert run("node", "backup", "again.twbackup", "--home", str(drill.home)).exit_code == 0


@pytest.mark.parametrize("drill", [pytest.param("pkcs11", marks=pytest.mark.slow)], indirect=True)
def test_nothing_is_left_of_a_backup_whose_folders_are_taken(drill: Drill) -> None:
    (drill.carried / "keys").mkdir()
    (drill.carried / "keys" / "mine").touch()
    (refused,) = drill.typed(blocks("pkcs11")[0])
    assert (refused.exit_code, "not empty" in refused.stderr) == (4, True)
    assert sorted(one.name for one in drill.carried.rglob("*")) == ["keys", "mine"]


@pytest.mark.parametrize("drill", ["local"], indirect=True)
def test_whatever_is_missing_is_named_at_once_and_two_key_services_are_one_too_many(drill: Drill) -> None:
    before, after = blocks("local")
    drill.typed(before)
    drill.burn_down()
    (drill.carried / "own-only/keys").mkdir(parents=True)
    shutil.copy2(drill.carried / "key-files/keys/master.key", drill.carried / "own-only/keys/master.key")
    own, members = "--keys-from $CARRIED/keys", ("lakeside", "northgate")
    for given, told in (
        ("", ["--keys-from"]),
        (own, ["--key-files-from", str(drill.carried / "keys/keys/master.key")]),
        (f"{own} --key-files-from $CARRIED/own-only", [f"peers/{name}/keys/master.key" for name in members]),
    ):
        (refused,) = drill.typed(f"twinward node restore $CARRIED/node.twbackup {given} --home $DRILL")
        assert refused.exit_code == 2, refused.output
        assert all(one in refused.stderr for one in told), refused.stderr
    both = drill.typed(f'export TWINWARD_KEYS="local:/nowhere/keys"\n{after}')[0]
    assert (both.exit_code, "which is meant" in both.stderr) == (2, True)
    assert not drill.home.exists()
