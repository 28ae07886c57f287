"""What a restored home says it is until it is put to work: whose copy, of which moment, and what alone it may touch.

A drill restores the very node that works elsewhere: same keys, same log key, the same settings, which name the working
node's databases, chain and witnesses. So a restored home carries a mark, and while it does

* its databases are those it was restored into, whatever the environment names;
* no checkpoint of its log is signed (the working node signs others of the same sizes: that is a split view), nothing
  is sent to a chain or to a webhook, no KEK is made or destroyed;
* it is not served.

Reading it is logged in its own log, as everywhere. ``twinward node activate`` takes the mark away.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from twinward.core.clock import iso
from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import BadInput, Conflict
from twinward.core.private_files import sync_folder, write_private

MARK = "restored.json"
"""In a home that was restored and not put to work yet."""
DATABASES = ("records", "keyring", "log")
"""The settings that name a home's databases; an empty one is the file in the home."""
_MAX_BYTES = 64 * 1024


class NotAtWork(Conflict):
    """A restored home was asked for what only the hospital's one working node may do. Nothing was done."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(
            f"this home was restored and is not at work: {what}",
            hint=hint
            or "a drill needs nothing of the kind; if it is to take the node's place, `twinward node activate`",
        )


@dataclass(frozen=True, slots=True)
class RestoredHome:
    """The mark.

    Attributes:
        tenant: whose node.
        backup: the backup's file name.
        made_at_ms: the moment it shows.
        restored_at_ms: when it was restored.
        log_size: entries in its access log then.
        databases: where its records, keyring and log are; an empty one is the file in the home.
    """

    tenant: str
    backup: str
    made_at_ms: int
    restored_at_ms: int
    log_size: int
    databases: dict[str, str]

    def sentence(self) -> str:
        """What it is, for people."""
        made, restored = iso(self.made_at_ms)[:16], iso(self.restored_at_ms)[:16]
        return f"restored {restored} from {self.backup}, as {self.tenant} was {made}; not at work"

    def write(self, home: Path) -> None:
        """Mark a home."""
        write_private(home / MARK, (json.dumps(asdict(self), indent=2) + "\n").encode())

    def put_to_work(self, home: Path) -> None:
        """Take the mark away, durably."""
        (home / MARK).unlink(missing_ok=True)
        sync_folder(home)

    def require_own_databases(self, settings: Settings) -> None:
        """Raise ``NotAtWork`` where settings or the environment name other databases than it was restored into."""
        for name in DATABASES:
            if getattr(settings, name) != self.databases[name]:
                variable = f"TWINWARD_{name.upper()}"
                raise NotAtWork(
                    f"{variable} or {FILE_NAME} names another database than its own",
                    hint=f"unset {variable}: it is the working node's, or another drill's",
                )

    @classmethod
    def of(cls, home: Path) -> Self | None:
        """A home's mark; None where it has none. Raises ``BadInput`` where it cannot be read."""
        try:
            with (home / MARK).open("rb") as file:
                found = cls(**json.loads(file.read(_MAX_BYTES)))
            if found.databases.keys() != set(DATABASES):
                raise ValueError("databases")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError):
            raise BadInput(f"{home / MARK} cannot be read", hint="restore the backup again") from None
        return found
