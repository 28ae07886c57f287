"""The error tree of the crypto leaf. No error carries plaintext, a key or a signature.

CryptoError
├── CanonicalizationError      an object has no RFC 8785 form
├── OpenError                  a sealed thing did not open; never says which check failed
├── MalformedKey               a key, point or scalar of the wrong length, range or subgroup
├── InvalidSignature           a signature, aggregate or proof of possession does not verify
├── MalformedBundle            a wire bundle is truncated, oversized or of an unknown version
├── ParameterError             a schema or parameter set that cannot work, naming the part that breaks it
└── KeyProviderError           a key service refused or failed
    ├── KeyNotFound            no such key at the service
    ├── KeyDestroyed           the key existed and is gone for good
    ├── ProviderLocked         wrong passphrase, wrong PIN, sealed or unreachable service
    └── UnknownProvider        no provider is registered for a URI's scheme
"""

from __future__ import annotations


class CryptoError(Exception):
    """Root of every error this package raises on purpose."""


class CanonicalizationError(CryptoError):
    """An object cannot be written in RFC 8785 form; ``path`` says where."""

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class OpenError(CryptoError):
    """A sealed value did not open. One message for every cause, so that it is no oracle."""

    def __init__(self) -> None:
        super().__init__("sealed value did not open: wrong key, wrong context, or altered bytes")


class MalformedKey(CryptoError):
    """A key, curve point or scalar has a wrong length, is out of range or out of its subgroup."""


class InvalidSignature(CryptoError):
    """A signature does not verify."""


class MalformedBundle(CryptoError):
    """A wire bundle is truncated, oversized, or of an unknown version."""


class ParameterError(CryptoError):
    """A parameter set or schema that cannot work. ``part`` names what breaks it."""

    def __init__(self, message: str, *, part: str = "") -> None:
        super().__init__(f"{part}: {message}" if part else message)
        self.part = part


class KeyProviderError(CryptoError):
    """A key service refused or failed. ``hint`` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class KeyNotFound(KeyProviderError):
    """The key service holds no such key."""


class KeyDestroyed(KeyProviderError):
    """The key existed once and has been destroyed; what it wrapped is gone for good."""


class ProviderLocked(KeyProviderError):
    """The key service could not be unlocked or reached."""


class UnknownProvider(KeyProviderError):
    """No key provider is known for a URI's scheme."""
