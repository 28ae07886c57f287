"""Good exports of a real log with its chain, and every way in which the tests spoil them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.first_kek import with_first_kek
from tests.integration.audit.test_audit_trail import ANNA, BERT, EVENT, NO_TWIN
from twinward.access.interfaces import AccessRequest, Principal
from twinward.access.permits import PermitAuthority
from twinward.audit.proofs.trust import Trust
from twinward.audit.reader import AuditReader
from twinward.audit.service import Audit
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.vault.keys.keyring import Keyring
from twinward_crypto.canonical import canonicalize
from twinward_crypto.keys import TenantId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.formats.export_seal import seal_export
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.stores.completeness import open_map_store
from twinward_ledger.testing.consortium import ORIGIN, open_consortium

NOBODY = TwinId("01941f29-7c00-7000-8000-00000000dead")
SIGNER = NoteSigner(ORIGIN, ORIGIN.encode().ljust(32, b".")[:32])
"""The log's own key: tests seal what they spoiled with it, as an operator could."""


@dataclass(frozen=True)
class Exports:
    """Files as bytes: a disclosed event, an undisclosed one, reports of two patients and of nobody, the trust file."""

    trust: bytes
    proof: bytes
    closed_proof: bytes
    report: bytes
    erased_report: bytes
    empty_report: bytes
    later_report: bytes
    growth: bytes

    def files(self) -> dict[str, bytes]:
        return {
            "proof": self.proof,
            "closed proof": self.closed_proof,
            "report": self.report,
            "erased report": self.erased_report,
            "empty report": self.empty_report,
        }


def make(folder: Path) -> Exports:
    clock = FixedClock()
    chain = EmbeddedChain(folder / "chain.db", now_s=lambda: clock.now_ms() // 1000)
    consortium = open_consortium(folder, chain=chain)
    keyring = Keyring(folder / "keyring.db", with_first_kek(MemoryKeyProvider()), TenantId("st-anna"), clock)
    keyring.reserve([ANNA, BERT])
    authority = PermitAuthority(clock)
    audit = Audit.through(consortium.anchorer, keyring, open_map_store(f"sqlite:{folder / 'log.db'}"))
    reader = AuditReader(audit, authority)

    def permit(twin: TwinId | None) -> Any:
        officer = Principal("officer-1", Role.OFFICER)
        return authority.issue(AccessRequest(officer, Action.AUDIT, Purpose.COMPLIANCE, twin), 0)

    def report(twin: TwinId) -> bytes:
        return reader.document(permit(twin), twin, hospital="St. Anna", at_ms=0).report.encode()

    keyring.reserve([NOBODY])  # known, and never accessed
    berts = replace(EVENT, twin=BERT, agent="dr-é=1", reason="=cmd()")
    audit.record([EVENT, berts, NO_TWIN, replace(EVENT, decision="deny"), berts, NO_TWIN])
    audit.checkpoint_and_anchor()
    annas, proof, nobodys = report(ANNA), reader.disclose(permit(None), 0).encode(), report(NOBODY)
    closed = audit.proofs.inclusion(1).encode()
    old = audit.status().signed_size
    audit.record([EVENT])
    audit.checkpoint_and_anchor()
    later, new = report(ANNA), audit.status().signed_size
    keyring.shred(BERT)
    growth = audit.proofs.consistency_file(old, new)
    state = consortium.anchor
    assert state is not None
    trust = Trust.of(
        consortium.log.history,
        [keys.signer.cosigner_key for keys in consortium.keys],
        2,
        bls_keys=[keys.bls_public_key for keys in consortium.keys],
        chain_id=chain.chain_id,
        contract=state.contract,
    )
    exports = Exports(
        trust=trust.model_dump_json().encode(),
        proof=proof,
        closed_proof=closed,
        report=annas,
        erased_report=report(BERT),
        empty_report=nobodys,
        later_report=later,
        growth=growth,
    )
    assert audit.completeness is not None
    audit.completeness.close()
    keyring.close()
    consortium.close()
    chain.close()
    return exports


def flipped_bits(data: bytes, step: int) -> Iterator[bytes]:
    """One bit changed, at every ``step``-th byte."""
    for at in range(0, len(data), step):
        altered = bytearray(data)
        altered[at] ^= 1 << (at // step) % 8
        yield bytes(altered)


def changed_fields(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every member of the JSON in a file dropped, emptied, exchanged or added to; the file stays canonical."""
    head, tail, value = _json_of(data)
    for path, changed in _changed(value, ()):
        if changed != value:
            yield path, _file_of(head, tail, changed)


def resealed(data: bytes) -> bytes:
    """The file under a new seal by the log's own key: what only the operator could make."""
    head, tail, value = _json_of(data)
    if not isinstance(value, dict) or "seal" not in value:
        return data
    unsealed = _file_of(head, tail, value | {"seal": None})
    seal = base64.b64encode(seal_export(unsealed, SIGNER)).decode()
    return _file_of(head, tail, value | {"seal": seal})


def _json_of(data: bytes) -> tuple[bytes, bytes, Any]:
    if data.startswith(b"{"):
        return b"", b"", json.loads(data)
    head, _, rest = data.partition(b"extra ")
    encoded, _, tail = rest.partition(b"\n")
    return head + b"extra ", b"\n" + tail, json.loads(base64.b64decode(encoded))


def _file_of(head: bytes, tail: bytes, value: Any) -> bytes:
    data = canonicalize(value)
    return head + base64.b64encode(data) + tail if head else data


def _changed(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every value that differs in one place, and where."""
    here = "/".join(path)
    if path:
        yield f"{here}: null", None
    if isinstance(value, dict):
        yield f"{here}: one member more", value | {"more": "x"}
        for name, one in value.items():
            yield f"{here}/{name}: gone", {other: kept for other, kept in value.items() if other != name}
            for where, changed in _changed(one, (*path, name)):
                yield where, value | {name: changed}
    elif isinstance(value, list):
        yield f"{here}: [] instead", []
        yield f"{here}: reversed", value[::-1]
        yield f"{here}: doubled", value + value
        for place, one in enumerate(value):
            yield f"{here}/{place}: gone", value[:place] + value[place + 1 :]
            for where, changed in _changed(one, (*path, str(place))):
                yield where, [*value[:place], changed, *value[place + 1 :]]
    elif isinstance(value, str):
        yield from ((f"{here}: {what}", text) for what, text in _changed_text(value))
    elif isinstance(value, int):
        yield f"{here}: one more", value + 1


def _changed_text(text: str) -> Iterator[tuple[str, str]]:
    yield "empty", ""
    yield "longer", text + "A"
    yield "shorter", text[:-1]
    if text.isdigit():
        yield "one more", str(int(text) + 1)
        yield "zero first", "0" + text
        yield "negative", "-" + text
        return
    yield "another first character", ("B" if text[:1] != "B" else "C") + text[1:]
    middle = len(text) // 2
    yield "another character", text[:middle] + ("a" if text[middle : middle + 1] != "a" else "b") + text[middle + 1 :]
