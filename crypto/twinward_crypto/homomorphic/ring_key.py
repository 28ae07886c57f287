"""A secret ring key that is hard to let slip: no bytes, no pickle, no repr, unless asked for by an ugly name."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NoReturn, Self

import tenseal.sealapi as seal

from twinward_crypto.errors import MalformedBundle, MalformedKey
from twinward_crypto.homomorphic import _seal
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.seal_format import uncompressed

_SECRET_KEY_MAX_BYTES = 1 << 20


class RingKey:
    """A SEAL secret key for one plan. Made by ``generate``, or by ``restore`` from what was sealed away."""

    scheme = ""

    def __init__(self, plan: Plan, secret: Any) -> None:
        if plan.profile.scheme != self.scheme:
            raise MalformedKey(f"a {type(self).__name__} needs a {self.scheme} profile, not {plan.profile.name}")
        self.plan = plan
        self._secret = secret

    @classmethod
    def generate(cls, plan: Plan) -> Self:
        """A fresh key from SEAL's generator, which the operating system seeds."""
        return cls(plan, seal.KeyGenerator(_seal.context_of(plan)).secret_key())

    @classmethod
    def restore(cls, plan: Plan, secret: bytes) -> Self:
        """The key that ``dangerously_export_secret`` gave. Raises ``MalformedKey`` for anything else."""
        if len(secret) > _SECRET_KEY_MAX_BYTES:
            raise MalformedKey("longer than any secret key")
        try:
            plain = uncompressed(secret, _SECRET_KEY_MAX_BYTES)
            return cls(plan, _seal.load(seal.SecretKey, plan, _seal.plaintext_form(plan, _seal.Level.KEY), plain))
        except MalformedBundle as error:
            raise MalformedKey("not a secret key for this plan") from error

    def dangerously_export_secret(self) -> bytes:
        """The secret itself. Seal it before it touches anything: whoever has it reads every query made under it."""
        return _seal.save(self._secret)

    @cached_property
    def _context(self) -> Any:
        return _seal.context_of(self.plan)

    @cached_property
    def _public(self) -> Any:
        public = seal.PublicKey()
        seal.KeyGenerator(self._context, self._secret).create_public_key(public)
        return public

    @cached_property
    def _decryptor(self) -> Any:
        return seal.Decryptor(self._context, self._secret)

    def _decrypt(self, ciphertext: Any) -> Any:
        plaintext = seal.Plaintext()
        try:
            self._decryptor.decrypt(ciphertext, plaintext)
        except _seal.SEAL_ERRORS as error:
            raise MalformedBundle("not a ciphertext under this key's parameters") from error
        return plaintext

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.plan.profile.name}, secret withheld)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} does not serialise; see dangerously_export_secret")
