"""TE1 the slow, obvious way: the oracle for ``twinward_crypto.envelope``.

It shares no code with it: the KDF is the library's KBKDF with separate label and context, GCM is the streaming cipher.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode


def keys(key: bytes, nonce: bytes, aad: bytes) -> tuple[bytes, bytes]:
    kdf = KBKDFHMAC(
        algorithm=SHA512(),
        mode=Mode.CounterMode,
        length=64,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=b"twinward/TE1",
        context=nonce + aad,
        fixed=None,
    )
    okm = kdf.derive(key)
    return okm[:32], okm[32:]


def seal(key: bytes, plaintext: bytes, aad: bytes, nonce: bytes, generation: int) -> bytes:
    record_key, commitment = keys(key, nonce, aad)
    out = bytearray()
    out += bytes([1])  # version
    out += bytes([1])  # suite
    out += bytes([0])  # flags
    out += bytes([0])  # reserved
    out += bytes([generation >> 24 & 255, generation >> 16 & 255, generation >> 8 & 255, generation & 255])
    out += nonce
    out += commitment
    encryptor = Cipher(algorithms.AES(record_key), modes.GCM(b"\x00" * 12)).encryptor()
    encryptor.authenticate_additional_data(bytes(out))
    out += encryptor.update(plaintext) + encryptor.finalize()
    out += encryptor.tag
    return bytes(out)
