"""TLS certificates and SuperNode keys for tests of Flower's network."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as encoding
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificates(folder: Path, nodes: int) -> None:
    """``ca.pem``, ``link.pem`` and ``link.key`` for 127.0.0.1, and ``node0``, ``node0.pub`` … for SuperNodes."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = encoding.Encoding.PEM
    (folder / "ca.pem").write_bytes(_certificate(authority.public_key(), authority, "authority").public_bytes(pem))
    (folder / "link.pem").write_bytes(_certificate(key.public_key(), authority, "127.0.0.1").public_bytes(pem))
    private = (encoding.PrivateFormat.PKCS8, encoding.NoEncryption())
    (folder / "link.key").write_bytes(key.private_bytes(pem, *private))
    for number in range(nodes):
        node = ec.generate_private_key(ec.SECP384R1())
        place = folder / f"node{number}"
        place.touch(mode=0o600)
        place.write_bytes(node.private_bytes(pem, encoding.PrivateFormat.OpenSSH, encoding.NoEncryption()))
        public = node.public_key().public_bytes(encoding.Encoding.OpenSSH, encoding.PublicFormat.OpenSSH)
        place.with_suffix(".pub").write_bytes(public)


def _certificate(
    public: ec.EllipticCurvePublicKey, authority: ec.EllipticCurvePrivateKey, name: str
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    is_authority = name == "authority"
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, "authority"))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    if is_authority:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        made = made.add_extension(usage, critical=True)
    else:
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = made.add_extension(here, critical=False)
    return made.sign(authority, hashes.SHA256())
