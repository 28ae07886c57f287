"""What every key provider calls its keys, and the bytes that bind a wrapped key to its place.

A key service with names of its own (a token's labels, a transit engine's keys) holds, for a tenant:

    twinward.<tenant>.kek.<version>        a KEK
    twinward.<tenant>.tombstone.<version>  that version was destroyed; stays for ever
    twinward.<tenant>.mac                  the MAC key
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from twinward_crypto.envelope import MAX_GENERATION
from twinward_crypto.errors import KeyNotFound
from twinward_crypto.kdf import length_prefixed
from twinward_crypto.keys import KekId, TenantId

KEK_WRAP = b"twinward/kek-wrap"
TENANT_MAC = b"twinward/tenant-mac"
MAX_TENANT_BYTES = 128
LONGEST_SPELLED = 48
"""Longer encoded tenant names become a hash: labels of 64 bytes are what common tokens allow for."""

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-")
_HASH_DIGITS = 32


def require_possible(key: KekId) -> None:
    """Raise ``KeyNotFound`` for a version or tenant name that no key can have."""
    name_bytes = len(key.tenant.encode("utf-8", "surrogatepass"))
    if not 1 <= key.version <= MAX_GENERATION or not 1 <= name_bytes <= MAX_TENANT_BYTES:
        raise KeyNotFound(f"{key} cannot exist: versions count from 1, tenants have 1 to {MAX_TENANT_BYTES} bytes")


def wrap_aad(key: KekId, context: bytes) -> bytes:
    """The associated data of every wrapped key: tenant, KEK version and the caller's context."""
    return wrap_aad_of(key) + length_prefixed(context)


def wrap_aad_of(key: KekId) -> bytes:
    """The beginning of ``wrap_aad``, common to everything that a KEK wraps."""
    return length_prefixed(KEK_WRAP, key.tenant.encode("utf-8", "surrogatepass"), key.version.to_bytes(4, "big"))


def kek_name(key: KekId) -> str:
    """The name of a KEK."""
    return f"{_prefix(key.tenant)}.kek.{key.version}"


def tombstone_name(key: KekId) -> str:
    """The name of the mark that a KEK was destroyed."""
    return f"{_prefix(key.tenant)}.tombstone.{key.version}"


def mac_name(tenant: TenantId) -> str:
    """The name of a tenant's MAC key."""
    return f"{_prefix(tenant)}.mac"


def seal_name(tenant: TenantId) -> str:
    """The name of the tenant's inner key, where a provider wraps in two layers."""
    return f"{_prefix(tenant)}.seal"


def versions_among(names: Iterable[str], tenant: TenantId, kind: str) -> set[int]:
    """The versions of one tenant's names of one kind, ``kek`` or ``tombstone``."""
    pattern = re.compile(re.escape(f"{_prefix(tenant)}.{kind}.") + r"([1-9][0-9]{0,9})", re.ASCII)
    return {int(match[1]) for name in names if (match := pattern.fullmatch(name))}


def tenant_name(tenant: TenantId) -> str:
    """Letters of one case, digits, ``-`` and ``_``: no service folds two tenants' names into one."""
    raw = tenant.encode("utf-8", "surrogatepass")
    spelled = "".join(chr(byte) if byte in _PLAIN else f"_{byte:02x}" for byte in raw)
    if len(spelled) > LONGEST_SPELLED:  # two underscores never start a spelled name
        spelled = "__" + hashlib.sha256(raw).hexdigest()[:_HASH_DIGITS]
    return spelled


def _prefix(tenant: TenantId) -> str:
    return f"twinward.{tenant_name(tenant)}"
