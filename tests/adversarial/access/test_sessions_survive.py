"""A session outlasts the server's death and its restart, and the server that comes after ends it as the one before."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.adversarial.access.test_accounts_taken_away import sign_in
from tests.integration.cli.conftest import PASSWORD, make_hospital
from tests.integration.cli.test_while_serving import served
from twinward.node import open_node

pytestmark = pytest.mark.slow


def test_kill_9_ends_no_session_and_brings_none_back(tmp_path: Path) -> None:
    hospital = make_hospital(tmp_path / "node")
    with served(hospital, {}) as node, httpx.Client(base_url=node.url, timeout=60, trust_env=False) as web:
        assert sign_in(web, "olga", PASSWORD).status_code == 303
        kept = web.cookies["twinward_session"]
        web.cookies.clear()
        assert sign_in(web, "olga", PASSWORD).status_code == 303
        left = web.cookies["twinward_session"]
        with open_node(hospital.home) as other:  # a process of its own: what was signed out here is so there
            other.sign_ins.sign_out(left)
        assert web.get("/console").status_code == 303
        node.process.kill()
    with served(hospital, {}) as node:
        for session, status in ((kept, 200), (left, 303)):
            headers = {"cookie": f"twinward_session={session}"}
            assert httpx.get(f"{node.url}/console", headers=headers, trust_env=False).status_code == status
        node.typed("account", "disable", "olga", "--last-officer")
        headers = {"cookie": f"twinward_session={kept}"}
        assert httpx.get(f"{node.url}/console", headers=headers, trust_env=False).status_code == 303
        on_disk = b"".join(path.read_bytes() for path in hospital.home.glob("*.db*"))
        assert kept.encode() not in on_disk
