"""Certificates by which systems and vendors prove who they are over mutual TLS (RFC 8705).

An officer registers a certificate by its thumbprint (``x5t#S256``, section 3.1). From then on nothing is done in the
account's name, by whichever token, but over a connection that proved one of its certificates: a token that was stolen
is worth nothing elsewhere. What the TLS handshake checks (issuer, validity, proof of the key) is done before HTTP; here
it is checked that the certificate is this account's.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from twinward.access.account_desk import AccountDesk
from twinward.access.account_store import AccountRecord, ClientCertificateRecord
from twinward.access.accounts import require_client_role
from twinward.access.interfaces import AccessContext
from twinward.core.errors import BadInput, Conflict, NotFound

MOST_BYTES: Final = 16 * 1024
MOST_CERTIFICATES: Final = 10


def thumbprint_of(der: bytes) -> str:
    """A certificate's ``x5t#S256``: SHA-256 of its DER, base64url without padding (43 characters)."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def read_certificate(pem: bytes, now_ms: int) -> ClientCertificateRecord:
    """A certificate as it is kept. Raises ``BadInput``: it is none, or not one alone, or is good no longer."""
    try:
        (found,) = x509.load_pem_x509_certificates(pem)
        subject = found.subject.rfc4514_string()
    except ValueError:
        raise BadInput("this is no certificate", hint="one certificate in PEM, without those above it") from None
    expires_at_ms = round(found.not_valid_after_utc.timestamp() * 1000)
    if expires_at_ms <= now_ms:
        raise BadInput("this certificate has expired", hint="have a new one issued")
    shown = "".join(one if one.isprintable() else "?" for one in subject)[:200]
    return ClientCertificateRecord(
        thumbprint=thumbprint_of(found.public_bytes(Encoding.DER)),
        subject=shown,
        expires_at_ms=expires_at_ms,
        made_at_ms=now_ms,
    )


def add_certificate(
    desk: AccountDesk, account: str, certificate: ClientCertificateRecord, by: AccessContext
) -> AccountRecord:
    """Have an account proven by this certificate, besides others; what was begun without one ends.

    Raises:
        BadInput: the account is no system's or vendor's.
        Conflict: it is registered already, with this account or another, or the account has too many.
    """
    desk.require_leave(account, by)

    def added(record: AccountRecord) -> AccountRecord:
        every = (*record.certificates, certificate)
        if len(every) > MOST_CERTIFICATES:
            raise Conflict(f"{record.id} has {MOST_CERTIFICATES} certificates, the most there are", hint="remove one")
        if record.certificate_bound:
            return record.model_copy(update={"certificates": every})
        return record.ended(certificates=every, certificate_bound=True)

    def check(record: AccountRecord, others: Iterator[AccountRecord]) -> None:
        require_client_role(record.role)
        for one in (record, *others):
            if any(held.thumbprint == certificate.thumbprint for held in one.certificates):
                raise Conflict("this certificate is registered already", hint=f"see `twinward account show {one.id}`")

    said = f"new certificate {certificate.thumbprint}"
    return desk.accounts.change(account, added, said, by, check)


def remove_certificate(desk: AccountDesk, account: str, thumbprint: str, by: AccessContext) -> AccountRecord:
    """Take a certificate away, and end at once every token and stream of the account. Raises ``NotFound``.

    An account whose last one goes is proven by nothing, and not served: see ``release``.
    """
    desk.require_leave(account, by)

    def without(record: AccountRecord) -> AccountRecord:
        kept = tuple(one for one in record.certificates if one.thumbprint != thumbprint)
        if len(kept) == len(record.certificates):
            raise NotFound(
                f"{record.id} has no such certificate", hint=f"`twinward account show {record.id}` prints them"
            )
        return record.ended(certificates=kept)

    return desk.accounts.change(account, without, f"certificate {thumbprint[:43]} removed", by)


def release(desk: AccountDesk, account: str, by: AccessContext) -> AccountRecord:
    """Take all certificates away, and want none any more. Raises ``Conflict`` where none is wanted."""
    desk.require_leave(account, by)

    def released(record: AccountRecord) -> AccountRecord:
        if not record.certificate_bound:
            raise Conflict(f"{record.id} wants no certificate")
        return record.ended(certificates=(), certificate_bound=False)

    return desk.accounts.change(account, released, "no certificate is wanted any more", by)
