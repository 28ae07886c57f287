"""A command loads what it needs: each in a process of its own, whose modules are looked at when it is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kept_homes import founded
from twinward.fhir.bulk.synthetic_patients import patient_bundle

_PROGRAM = """
import json, sys
from twinward.cli import main
try:
    main.run()
finally:
    print("\\nLOADED " + json.dumps(sorted(sys.modules)))
"""

_STOPPED_AT_ONCE = """
import time, uvicorn
uvicorn.Server.run = lambda self, sockets=None: time.sleep(0.6)
"""
"""Serves nobody, for as long as what a node does by itself takes to have been done once or twice."""

_EVERY_DOOR_OPENED = """
import uvicorn
def opened(self, sockets=None):
    from twinward.api.http.doors import open_all
    open_all(self.config.app.router.routes)
uvicorn.Server.run = opened
"""

BEHIND_DOORS = (
    "twinward.api.accounts",
    "twinward.api.audit",
    "twinward.api.contacts",
    "twinward.api.delegations",
    "twinward.api.emergencies",
    "twinward.api.live",
    "twinward.api.proofs",
    "twinward.api.similarity",
    "twinward.api.things",
    "twinward.api.twins.reading",
    "twinward.console.pages",
    "twinward.console.routes",
)
READY = frozenset(
    [
        "annotated_doc",
        "annotated_types",
        "anyio",
        "attr",
        "cedarpy",
        "click",
        "cryptography",
        "cython_runtime",
        "dotenv",
        "fastapi",
        "greenlet",
        "h11",
        "idna",
        "jinja2",
        "markupsafe",
        "msgspec",
        "py_arkworks_bls12381",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
        "pygments",
        "python_multipart",
        "rfc8785",
        "rich",
        "shellingham",
        "sqlalchemy",
        "sqlmodel",
        "starlette",
        "structlog",
        "twinward",
        "twinward_contracts",
        "twinward_crypto",
        "twinward_ledger",
        "typer",
        "typing_extensions",
        "typing_inspection",
        "uvicorn",
        "zstandard",
    ]
)
"""Packages that a node loads until it is ready. One more is CPU and memory of each start: is it needed by then?"""
CHAIN = ("eth", "web3", "eth_abi", "py_ecc", "twinward_contracts.bindings", "twinward.consortium.membership")
WITNESSES = ("twinward.consortium.witness", "twinward_ledger.witness.client", "twinward_ledger.anchoring")
SIMILARITY = ("tenseal", "numpy", "twinward.similarity", "twinward.client", "twinward.node.cohort")
TRAINING = ("torch", "opacus", "flwr", "twinward.federation")
SERVER = ("fastapi", "starlette", "uvicorn", "twinward.api", "twinward.console")
STORES = ("sqlalchemy", "sqlmodel", "alembic", "psycopg", "twinward.vault", "twinward.access", "twinward.audit")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("loaded") / "home"
    founded(made).close()
    (made.parent / "patient.json").write_bytes(patient_bundle(0, seed=1))
    return made


def _loaded(*arguments: str, before: str = "") -> tuple[int, str, frozenset[str]]:
    """The exit code, standard error, and what was loaded at the end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TWINWARD_")}
    command = [sys.executable, "-c", before + _PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, timeout=120, check=False)
    return done.returncode, done.stderr, frozenset(json.loads(done.stdout.rpartition("LOADED ")[2]))


def _of(loaded: frozenset[str], *roots: str) -> list[str]:
    return sorted(one for one in loaded if any(one == root or one.startswith(f"{root}.") for root in roots))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_loads_the_command_line_alone(arguments: tuple[str, ...]) -> None:
    code, _, loaded = _loaded(*arguments)
    assert code == 0
    assert _of(loaded, "pydantic", "structlog", "asyncio", *CHAIN, *SIMILARITY, *TRAINING, *SERVER, *STORES) == []


def test_an_import_loads_vault_access_and_audit(home: Path) -> None:
    code, said, loaded = _loaded("twin", "import", str(home.parent / "patient.json"), "--home", str(home))
    assert code == 0, said
    assert _of(loaded, *CHAIN, *WITNESSES, *SIMILARITY, *TRAINING, *SERVER) == []
    assert {"twinward.vault.service", "twinward.access.service", "twinward.audit.service"} <= loaded
    assert _of(loaded, "twinward.access.accounts", "twinward.fhir.search.facets") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("twin", "list"),
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in (("keys", "status"), ("keys", "rotate"), ("node", "compact"))
        ),
    ],
)
def test_what_touches_records_and_keys_alone_opens_no_chain(home: Path, arguments: tuple[str, ...]) -> None:
    code, said, loaded = _loaded(*arguments, "--home", str(home))
    assert code == 0, said
    assert _of(loaded, *CHAIN, *WITNESSES, *SIMILARITY, *TRAINING, *SERVER) == []


def test_reading_the_log_opens_no_chain(home: Path) -> None:
    code, said, loaded = _loaded("audit", "verify", "--home", str(home))
    assert code == 0, said
    assert _of(loaded, *CHAIN, *SIMILARITY, *TRAINING, *SERVER) == []


def test_a_served_node_that_is_ready_has_loaded_this_and_no_more(home: Path) -> None:
    """What only some requests need is loaded by the first of them: see ``twinward.api.http.doors``."""
    code, said, loaded = _loaded("node", "serve", "--home", str(home), "--port", "0", before=_STOPPED_AT_ONCE)
    assert code == 0, said
    roots = {name.partition(".")[0] for name in loaded}
    assert {one for one in roots - sys.stdlib_module_names if not one.startswith("_")} - {"__main__"} <= READY
    assert {"twinward.api.fhir", "twinward.api.tokens"} <= loaded
    assert _of(loaded, *BEHIND_DOORS) == []


@pytest.mark.slow
def test_serving_loads_nothing_that_prints(home: Path) -> None:
    """Making PDFs takes 20 MB and a sixth of a start: whoever prints loads it."""
    _, _, loaded = _loaded("node", "serve", "--home", str(home), "--port", "0", before=_EVERY_DOOR_OPENED)
    assert {"twinward.console.breaches", *BEHIND_DOORS} <= loaded
    assert _of(loaded, "fpdf", "fontTools", "uharfbuzz", "matplotlib", "torch", "opacus", "flwr") == []


@pytest.mark.slow
def test_status_asks_the_chain_and_no_more_and_where_nothing_changed_not_even_that(home: Path) -> None:
    code, said, loaded = _loaded("node", "status", "--home", str(home))
    assert code == 0, said
    assert _of(loaded, *SIMILARITY, "torch", "opacus", "flwr", *SERVER) == []
    code, said, loaded = _loaded("node", "status", "--home", str(home))
    assert code == 0, said
    kept = [one for one in STORES if one != "twinward.vault"]  # its errors are named by every command
    assert _of(loaded, *CHAIN, *kept, *WITNESSES, *SIMILARITY, *TRAINING, *SERVER) == []
    opened = "from twinward.node import open_node; from pathlib import Path; import sys"
    opened += "\nwith open_node(Path(sys.argv[1])) as node: "
    by_another = [sys.executable, "-c", opened + "node.heartbeat()", str(home)]
    subprocess.run(by_another, check=True, timeout=120)
    _, _, loaded = _loaded("node", "status", "--home", str(home))
    assert "sqlalchemy" in loaded  # the log grew, so the node is asked; the chain is not
    assert _of(loaded, "eth", "web3", "eth_abi", "py_ecc", *SIMILARITY, "torch", "opacus", "flwr", *SERVER) == []
    by_another = [sys.executable, "-c", opened + "node.consortium.grant_queries('acme', 41)", str(home)]
    subprocess.run(by_another, check=True, timeout=120)
    _, _, loaded = _loaded("node", "status", "--home", str(home))
    assert {"eth", "sqlalchemy"} <= loaded


@pytest.mark.parametrize("module", ["rpc", pytest.param("embedded", marks=pytest.mark.slow)])
def test_no_chain_lets_python_recurse_until_its_stack_overflows(module: str) -> None:
    """py_ecc and py-evm do, for the whole process: a stranger's nested JSON would end a node."""
    program = f"import sys, json, twinward_ledger.chains.{module}\ntry: json.loads('[' * 100_000)"
    program += "\nexcept RecursionError: print(sys.getrecursionlimit())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "2000\n"), done.stderr


def test_a_package_that_is_missing_when_it_is_needed_is_named_with_its_extra(home: Path) -> None:
    check = ("access", "check", "--role", "vendor", "--action", "query", "--home", str(home))
    code, said, _ = _loaded(*check, before="import sys\nsys.modules['cedarpy'] = None\n")
    assert code == 7
    assert "the package cedarpy" in said
    assert "twinward[node]" in said
