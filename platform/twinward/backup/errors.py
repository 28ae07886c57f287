"""Errors of backups.

TwinwardError
├── BackupDamaged (exit 8)      not this node's backup, or not as it was written: altered, cut off, extended
├── RelocationFailed (exit 8)   what was moved to a server does not come back as it was written
├── Conflict
│   ├── RolledBack              it would make the access log forget what others have witnessed
│   ├── WouldRevive             its keyring would bring back what the node has shredded since
│   └── InTheWay                something is there already, or the node is running
├── BadInput ── KeysMissing     the key service that the backup was made under is not at hand
└── Unavailable
    ├── CannotFreeze            the databases were too busy to be held still
    └── SourceLost              the connection to a database broke while its moment was copied
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Conflict, TwinwardError, Unavailable


class BackupDamaged(TwinwardError):
    """Not a backup of this node as it was written. Nothing was restored."""

    exit_code = 8


class RelocationFailed(TwinwardError):
    """What was copied to a server is not read back as it was written. The home works as before."""

    exit_code = 8


class RolledBack(Conflict):
    """The backup's access log is older than what others have witnessed of it. Nothing was restored."""


class WouldRevive(Conflict):
    """The backup's keyring would bring back what the node has shredded since. Nothing was restored."""


class InTheWay(Conflict):
    """Something is there already, or the node is running. Nothing was changed."""


class KeysMissing(BadInput):
    """The key service that the backup was made under is not at hand."""


class SourceLost(Unavailable):
    """The connection to a database broke, and the moment that was being copied with it. A backup begins anew."""


class CannotFreeze(Unavailable):
    """The databases could not be held still for a moment."""
