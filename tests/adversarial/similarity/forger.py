"""A vendor that forms its gated queries by hand: it has the public key, SEAL and a token, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward.protocol import messages
from twinward.protocol.terms import Mode, Terms
from twinward_crypto.homomorphic import _seal, parts, wire
from twinward_crypto.homomorphic.seal_format import Form

Slots = NDArray[np.complex128]


class Forger:
    """Sends any numbers in any slots. Speaks to a hospital over HTTP, like any client."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.terms = Terms.model_validate_json(self.get("/schema").content)
        (gated,) = (terms for terms in self.terms.modes if terms.mode is Mode.GATED)
        self.plan = gated.plan(self.terms.feature_schema)
        bundle = base64.b64decode(self.get("/gate-key").json()["bundle"])
        gate = wire.decode(bundle, kind=wire.Kind.GATE_PUBLIC_KEY, plan=self.plan, binding=self.terms.binding())
        self.context = _seal.context_of(self.plan)
        self.encoder = seal.CKKSEncoder(self.context)
        self.encryptor = seal.Encryptor(self.context, parts.public_key(self.plan, gate.parts[0]))

    def get(self, path: str) -> httpx.Response:
        return self.http.get(messages.PREFIX + path)

    def honest(self, levels: Sequence[int], weights: Sequence[int] | None = None) -> list[Slots]:
        """The parts of an honest query, to be tampered with: ``complex128[slots]`` each."""
        counted = weights or [1] * len(levels)
        numbers = [-2 * w * q for w, q in zip(counted, levels, strict=True)] + list(weights or [])
        numbers.append(sum(w * q * q for w, q in zip(counted, levels, strict=True)))
        return [np.full(self.plan.profile.slots, number, dtype=np.complex128) for number in numbers]

    def encrypt(self, slots: Slots, form: Form) -> bytes:
        """One part with these numbers."""
        plaintext, ciphertext = seal.Plaintext(), seal.Ciphertext()
        self.encoder.encode(slots.tolist(), form.scale, plaintext)
        self.encryptor.encrypt(plaintext, ciphertext)
        return parts.take(ciphertext, form)

    def bundle(self, numbers: Sequence[Slots], *, weighted: bool) -> bytes:
        """A bundle of these parts, each at the scale its place demands."""
        forms = parts.forms(wire.Kind.GATED_QUERY, self.plan, weighted=weighted)
        sealed = tuple(self.encrypt(slots, form) for slots, form in zip(numbers, forms, strict=True))
        return wire.Bundle(wire.Kind.GATED_QUERY, self.plan, self.terms.binding(), sealed, weighted).encode()

    def send(self, bundle: bytes, threshold_squared: int = 0, nearest: int | None = None) -> httpx.Response:
        """The hospital's answer, whatever it is."""
        body: dict[str, Any] = {
            "epoch": self.terms.epoch,
            "threshold_squared": threshold_squared,
            "nearest": nearest,
            "bundle": base64.b64encode(bundle).decode(),
        }
        return self.http.post(messages.PREFIX + "/gated", json=body)
