"""The verify page names each witness with its whole key, whatever characters base64 gave it."""

from __future__ import annotations

import base64
from types import SimpleNamespace

from twinward.console import facts
from twinward_ledger.note import NoteSigner


def test_a_key_is_shown_whole() -> None:
    signers = [NoteSigner(f"twinward.example/h{n}/witness", bytes([n]) * 32) for n in range(1, 60)]
    log = SimpleNamespace(latest=lambda: None)
    node = SimpleNamespace(witnesses=[SimpleNamespace(key=one.cosigner_key) for one in signers], log=log)
    shown = facts.witnesses(node)  # type: ignore[arg-type]
    assert any("+" in row["key"] for row in shown)
    for row, signer in zip(shown, signers, strict=True):
        assert base64.b64decode(row["key"])[1:] == signer.key.public_key
