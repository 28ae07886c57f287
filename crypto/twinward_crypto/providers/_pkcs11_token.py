"""One PKCS#11 token: named AES and HMAC keys that never leave it, and marks that cannot be removed.

Imported only when a token is opened, since it needs the extra ``pkcs11``. Keys are found by label at each use, so what
another process makes or destroys is noticed. A session is one conversation with the token: a lock keeps threads apart.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass, exceptions
from pkcs11.types import DecryptMixin, EncryptMixin, SignMixin

from twinward_crypto.errors import KeyNotFound, KeyProviderError, OpenError, ProviderLocked

APPLICATION = "twinward"
AES_BITS = 256
HMAC_BITS = 512
TAG_BITS = 128

_NEEDED = (Mechanism.AES_KEY_GEN, Mechanism.AES_GCM, Mechanism.GENERIC_SECRET_KEY_GEN, Mechanism.SHA512_HMAC)
_ABSENT = (exceptions.NoSuchToken, exceptions.TokenNotPresent, exceptions.TokenNotRecognised)
_WRONG_PIN = (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange)
_BLOCKED_PIN = (exceptions.PinLocked, exceptions.PinExpired, exceptions.UserPinNotInitialized)
_NOT_OPENED = (
    exceptions.GeneralError,  # what SoftHSM 2 says when a GCM tag is wrong
    exceptions.FunctionFailed,
    exceptions.EncryptedDataInvalid,
    exceptions.EncryptedDataLenRange,
    exceptions.DataInvalid,
    exceptions.DataLenRange,
)
_Use = TypeVar("_Use", EncryptMixin, DecryptMixin, SignMixin)
_UNUSED = (Attribute.WRAP, Attribute.UNWRAP, Attribute.DERIVE)


class Pkcs11Token:
    """A logged-in session with a token. Every error of the library is translated."""

    def __init__(self, module: Path, label: str, pin: str) -> None:
        """Load the library, find the token by its label, log in.

        Raises:
            ProviderLocked: no such token, or a wrong PIN.
            KeyProviderError: the library cannot be loaded, or the token lacks a mechanism.
        """
        self._lock = threading.RLock()
        self._closed = False
        try:
            library = pkcs11.lib(str(module))
        except RuntimeError:
            hint = "check module-path= in the URI"
            raise KeyProviderError(
                f"{module} is no PKCS#11 library, or another one is loaded already", hint=hint
            ) from None
        with _translated():
            token = library.get_token(token_label=label)
            missing = set(_NEEDED) - token.slot.get_mechanisms()
            if missing:
                names = ", ".join(sorted(mechanism.name for mechanism in missing))
                raise KeyProviderError(f"token {label!r} cannot do what is needed of it: {names}")
            try:
                self._session = token.open(rw=True, user_pin=pin)
            except exceptions.UserAlreadyLoggedIn:  # by this process: PKCS#11 logs in processes, not sessions
                self._session = token.open(rw=True)

    def close(self) -> None:
        """End the session. The last one of a process logs it out. Closing twice is harmless."""
        with self._lock, _translated():
            if not self._closed:
                self._closed = True
                self._session.close()

    def key_labels(self) -> list[str]:
        """Labels of all secret keys."""
        with self._using():
            return [str(key[Attribute.LABEL]) for key in self._find(ObjectClass.SECRET_KEY)]

    def mark_labels(self) -> list[str]:
        """Labels of all marks."""
        with self._using():
            return [str(mark[Attribute.LABEL]) for mark in self._find(ObjectClass.DATA)]

    def has_key(self, label: str) -> bool:
        """Whether a key of this label exists."""
        with self._using():
            return bool(self._find(ObjectClass.SECRET_KEY, label))

    def has_mark(self, label: str) -> bool:
        """Whether a mark of this label exists."""
        with self._using():
            return bool(self._find(ObjectClass.DATA, label))

    def make_aes_key(self, label: str) -> None:
        """Make a sensitive, non-extractable AES-256 key that encrypts and decrypts, nothing else."""
        self._make(label, KeyType.AES, AES_BITS, {Attribute.ENCRYPT, Attribute.DECRYPT})

    def make_hmac_key(self, label: str) -> None:
        """Make a sensitive, non-extractable 512-bit HMAC key."""
        self._make(label, KeyType.GENERIC_SECRET, HMAC_BITS, {Attribute.SIGN})

    def mark(self, label: str) -> None:
        """Leave a data object that the token refuses to change or delete."""
        with self._using():
            self._session.create_object(
                {
                    Attribute.CLASS: ObjectClass.DATA,
                    Attribute.APPLICATION: APPLICATION,
                    Attribute.LABEL: label,
                    Attribute.VALUE: label.encode(),
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: True,
                    Attribute.MODIFIABLE: False,
                    Attribute.DESTROYABLE: False,
                }
            )

    def encrypt(self, label: str, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """AES-256-GCM inside the token: ciphertext and 16-byte tag."""
        with self._using():
            parameters = GCMParams(nonce, aad, TAG_BITS)
            key = self._key(label, EncryptMixin)
            sealed = key.encrypt(plaintext, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
            return _whole(sealed)

    def decrypt(self, label: str, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
        """The reverse. Raises ``OpenError`` for whatever the token does not accept."""
        with self._using():
            key, parameters = self._key(label, DecryptMixin), GCMParams(nonce, aad, TAG_BITS)
            try:
                return _whole(key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
            except _NOT_OPENED:
                raise OpenError from None

    def hmac_sha512(self, label: str, message: bytes) -> bytes:
        """64 bytes, computed inside the token."""
        with self._using():
            return bytes(self._key(label, SignMixin).sign(message, mechanism=Mechanism.SHA512_HMAC))

    def delete_key(self, label: str) -> None:
        """Delete every key of this label, and look whether they are gone."""
        with self._using():
            for key in self._find(ObjectClass.SECRET_KEY, label):
                key.destroy()
            if self._find(ObjectClass.SECRET_KEY, label):
                raise KeyProviderError(f"the token still holds {label} after deleting it")

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._lock, _translated():
            if self._closed:
                raise KeyProviderError("the session with the token was closed; open the provider again")
            yield

    def _make(self, label: str, key_type: KeyType, bits: int, uses: set[Attribute]) -> None:
        every_use = {Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.SIGN, Attribute.VERIFY, *_UNUSED}
        template = {use: use in uses for use in every_use} | {
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.MODIFIABLE: False,
        }
        with self._using():
            made = self._session.generate_key(key_type, bits, label=label, store=True, template=template)
            if len(self._find(ObjectClass.SECRET_KEY, label)) > 1:  # PKCS#11 knows no unique labels
                made.destroy()
                raise KeyProviderError(f"another process made {label} at the same time; try again")

    def _key(self, label: str, use: type[_Use]) -> _Use:
        found = self._find(ObjectClass.SECRET_KEY, label)
        if not found:
            raise KeyNotFound(f"the token holds no key {label}")
        if len(found) > 1:
            raise KeyProviderError(f"the token holds {len(found)} keys {label}; which is right cannot be known")
        key = found[0]
        if not isinstance(key, use):
            raise KeyProviderError(f"the token's key {label} was not made for this")
        return key

    def _find(self, object_class: ObjectClass, label: str | None = None) -> list[pkcs11.Object]:
        template: dict[Attribute, object] = {Attribute.CLASS: object_class}
        if object_class is ObjectClass.DATA:
            template[Attribute.APPLICATION] = APPLICATION
        if label is not None:
            template[Attribute.LABEL] = label
        return list(self._session.get_objects(template))


def _whole(answer: bytes | Iterator[bytes]) -> bytes:
    return answer if isinstance(answer, bytes) else b"".join(answer)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _ABSENT as error:
        hint = "check token= in the URI, and that the token is plugged in and its library configured"
        raise ProviderLocked(f"there is no token of this label ({type(error).__name__})", hint=hint) from None
    except _WRONG_PIN as error:
        hint = "correct the file that pin-source names; after a few wrong PINs a token locks itself"
        raise ProviderLocked(f"the token refuses the PIN ({type(error).__name__})", hint=hint) from None
    except _BLOCKED_PIN as error:
        hint = "its security officer sets the PIN anew with the vendor's tool; then write it where pin-source names"
        raise ProviderLocked(f"the token takes no PIN any more ({type(error).__name__})", hint=hint) from None
    except exceptions.UserNotLoggedIn:
        raise ProviderLocked("the token has ended the session", hint="start this process again") from None
    except exceptions.PKCS11Error as error:
        hint = "look at the token's own log"
        raise KeyProviderError(f"the token refused or failed: {type(error).__name__}", hint=hint) from None
