"""Secrets in files: a PIN, a token, a passphrase. Bounded, and refused where others may read them."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from twinward_crypto.errors import ProviderLocked

MAX_SECRET_BYTES = 64 * 1024

_ACL = "system.posix_acl_access"
_ACL_VERSION = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_READ = 0x04
_USER, _OTHERS = 0x02, frozenset({0x04, 0x08, 0x20})
"""Tags of Linux's ``posix_acl_xattr.h``: a named user; the owning group, a named group, all others."""


def read_secret(path: Path, what: str) -> str:
    """The text of a secret file without the white space around it.

    Raises:
        ProviderLocked: missing, empty, too long, not UTF-8, or readable by group or others.
    """
    try:
        with path.open("rb") as file:
            exposed = is_exposed(file.fileno())
            data = file.read(MAX_SECRET_BYTES + 1)
        text = data.decode().strip()
    except OSError as error:
        raise ProviderLocked(f"{what} cannot be read from {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProviderLocked(f"{path} does not hold {what}: it is not text") from None
    if exposed:
        raise ProviderLocked(f"{what} in {path} can be read by others; run: chmod 600 {path}")
    if not text or len(data) > MAX_SECRET_BYTES:
        raise ProviderLocked(f"{path} does not hold {what}: it is empty or too long")
    return text


def is_exposed(file: int) -> bool:
    """Whether others than this process's user and the owner may use an open file, by its mode or its access list.

    Where there is an access list, the mode's group bits only bound it: systemd hands a credential to a service's user
    as a file of root's with an entry for that user, and its mode reads 0440.
    """
    mode = stat.S_IMODE(os.fstat(file).st_mode)
    if not mode & 0o077:
        return False
    try:
        listed = os.getxattr(file, _ACL)
    except (OSError, AttributeError):  # none, or a file system or system without them
        return True
    entries = _ACL_ENTRY.iter_unpack(listed[_ACL_VERSION.size :])
    return any(
        rights & _READ and (tag in _OTHERS or (tag == _USER and user != os.geteuid())) for tag, rights, user in entries
    )
