"""A key provider that forgets.

**For tests only.** Its keys live in this process and die with it: everything ever sealed under them is lost at exit.
No URI reaches it on purpose; a node cannot be configured to use it.
"""

from __future__ import annotations

from twinward_crypto.providers._software_keys import SoftwareKeys


class MemoryKeyProvider(SoftwareKeys):
    """A ``KeyProvider`` without any storage. **Loses every key at exit: tests only.**"""

    @property
    def uri(self) -> str:
        """``memory:``, which ``open_provider`` refuses."""
        return "memory:"

    def __repr__(self) -> str:
        return "MemoryKeyProvider()"
