"""The ledger's byte formats, computed from fixed inputs. ``python -m tests.vectors.ledger.generate`` rewrites the file.

The first half is what the product must produce byte for byte, the second what it must refuse; each refused case differs
from a good one in one thing.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from twinward_crypto import bls, commitment
from twinward_ledger import merkle
from twinward_ledger.completeness.map import MapHead, MapProof, key_commitment, subject_label
from twinward_ledger.completeness.memory import MemoryMap
from twinward_ledger.completeness.tree import MapTree
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.cosignature import AnchorDomain, AnchorStatement, cosign, cosign_bls
from twinward_ledger.formats.export_seal import seal_export
from twinward_ledger.formats.leaf import EVENT_DOMAIN, Leaf, LeafKind
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.proofs.bundle import Opening, ProofBundle

FILE = Path(__file__).with_name("formats.json")
KEY, SALT, EVENT = bytes(range(32)), bytes(range(32, 64)), b'{"resourceType":"AuditEvent"}'


def vectors() -> dict[str, Any]:
    """Everything in the file."""
    log = NoteSigner("st-anna.example/access", bytes([1]) * 32)
    witness = NoteSigner("witness.example", bytes([2]) * 32)
    secret = bls.secret_key_from_seed(bytes([3]) * 32)
    committed = commitment.commit(KEY, EVENT, SALT, domain=EVENT_DOMAIN)
    leaves = [Leaf.at(1_767_225_659_999 + n * 60_000, LeafKind(1 + n % 3), committed).encode() for n in range(5)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    checkpoint = Checkpoint(log.key.name, 5, merkle.root(hashes))
    note = sign_checkpoint(checkpoint, log)
    note = note.with_signatures(cosign(note.text, 1_767_225_900, witness))
    statement = AnchorStatement.of(AnchorDomain(845_317, bytes(range(20)), 4), checkpoint, 1_767_225_900)
    signature = cosign_bls(statement, secret)
    record = AnchorRecord(statement, 1, (bls.public_key(secret),), bls.aggregate([signature]), 9, bytes(32))
    path = tuple(merkle.inclusion_proof(hashes, 2))
    bundle = ProofBundle(2, leaves[2], path, note.encode(), record, Opening(KEY, SALT, EVENT))
    bundle = bundle.sealed(lambda unsealed: seal_export(unsealed, log))
    return {
        "leaves": [leaf.hex() for leaf in leaves],
        "log_key": str(log.key),
        "witness_key": str(witness.cosigner_key),
        "note": note.encode().decode(),
        "anchor_message": statement.message().hex(),
        "bls_signature": signature.hex(),
        "bundle": bundle.encode().decode(),
        "completeness": _completeness(log.key.name),
        "refused_leaves": _refused_leaves(leaves[0]),
        "refused_checkpoint_texts": _refused_texts(checkpoint.root),
    }


def _completeness(origin: str) -> dict[str, Any]:
    """A map of three patients with three, one and two rows, and the proof of each and of one who is not in it."""
    tree = MapTree(MemoryMap())
    subjects = ["anna", "bert", "carl"]
    labels = {name: subject_label(KEY, origin, name) for name in [*subjects, "nobody"]}
    rows = [(labels[subjects[n]], 2 * n, merkle.leaf_hash(b"leaf %d" % n)) for n in (0, 1, 0, 2, 0, 2)]
    root = tree.extend(rows)
    head = MapHead(7, root.total, root.hash, key_commitment(KEY))
    return {
        "label_key": KEY.hex(),
        "labels": {name: label.hex() for name, label in labels.items()},
        "rows": [[label.hex(), index, leaf_hash.hex()] for label, index, leaf_hash in rows],
        "head": head.encode().hex(),
        "head_leaf": head.leaf(1_767_225_600_000).encode().hex(),
        "proofs": {name: _map_proof(tree.prove(label)) for name, label in labels.items()},
    }


def _map_proof(proof: MapProof) -> dict[str, Any]:
    near = proof.neighbour
    return {
        "count": proof.count,
        "root": proof.root.hex(),
        "path": [[hash_.hex(), total] for hash_, total in proof.path],
        "neighbour": None if near is None else [near.label.hex(), near.root.hex(), near.count],
    }


def _refused_leaves(leaf: bytes) -> list[dict[str, str]]:
    cases = {
        "empty": b"",
        "one byte short": leaf[:-1],
        "one byte long": leaf + b"\0",
        "version 0": b"\0" + leaf[1:],
        "version 2": b"\2" + leaf[1:],
        "kind 0": leaf[:1] + b"\0" + leaf[2:],
        "kind 9": leaf[:1] + b"\t" + leaf[2:],
    }
    return [{"desc": desc, "leaf": data.hex()} for desc, data in cases.items()]


def _refused_texts(root: bytes) -> list[dict[str, str]]:
    encoded = base64.b64encode(root).decode()
    cases = {
        "empty": "",
        "two lines": "log\n5\n",
        "no final newline": f"log\n5\n{encoded}",
        "empty origin": f"\n5\n{encoded}\n",
        "an empty line at the end": f"log\n5\n{encoded}\n\n",
        "leading zero": f"log\n05\n{encoded}\n",
        "a sign": f"log\n+5\n{encoded}\n",
        "a space": f"log\n 5\n{encoded}\n",
        "hexadecimal": f"log\n0x5\n{encoded}\n",
        "other digits": f"log\n٥\n{encoded}\n",
        "no number": f"log\n\n{encoded}\n",
        "2**63": f"log\n{2**63}\n{encoded}\n",
        "a very long number": f"log\n{'9' * 5000}\n{encoded}\n",
        "root of 31 bytes": f"log\n5\n{base64.b64encode(root[1:]).decode()}\n",
        "root of 33 bytes": f"log\n5\n{base64.b64encode(root + root[:1]).decode()}\n",
        "root without padding": f"log\n5\n{encoded.rstrip('=')}\n",
        "root in the URL alphabet": f"log\n5\n{base64.urlsafe_b64encode(bytes([255]) * 32).decode()}\n",
        "root with loose bits": f"log\n5\n{encoded[:-2]}{chr(ord(encoded[-2]) + 1)}=\n",
        "a carriage return": f"log\r\n5\r\n{encoded}\r\n",
        "an empty log with another root": f"log\n0\n{encoded}\n",
    }
    return [{"desc": desc, "text": text} for desc, text in cases.items()]


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
