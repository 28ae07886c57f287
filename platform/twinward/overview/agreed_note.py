"""What the consortium's contracts said last, kept sealed in the home: said again while the chain's file is the same.

A node's log grows all the time, and with it every answer of ``node status``; its embedded chain does not, and asking it
loads an Ethereum machine. What contracts answer follows from the chain's file, from who is asked about and from the
day: so the answer is said again only where

* it opens under this home's sealing key: whoever alters it has none;
* the chain's file, what was written ahead of it, its key and the consortium's addresses are the files that they were,
  by inode, size and times, of which no program sets all (``status_note``);
* the release is the same, and so are the names that are asked about: hospitals, vendors and what those are called;
* it is the same day of UTC, and not before it was found: budgets are a day's.

Nothing is kept where the chain is elsewhere, where a file was changed within the last moment or while the contracts
were asked, or of a restored home. In any doubt they are asked.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Final

import msgspec

from twinward import __version__
from twinward.core.config import CONSORTIUM_FILE
from twinward.core.errors import TwinwardError
from twinward.core.private_files import write_private
from twinward.core.vocabulary import Role
from twinward.node import Node
from twinward.overview.status import AgreedStatus, agreed_status
from twinward.overview.status_note import AGREED_FILE, DAY_MS, JUST_NOW_NS, says_nothing, state_of
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import CryptoError

_AAD: Final = b"twinward/agreed-note/1"
_MOST_BYTES: Final = 1 << 20
_FILES: Final = ("chain.db", "chain.db-wal", "chain.db.key", CONSORTIUM_FILE)


class _Basis(msgspec.Struct, frozen=True):
    """What an answer rests on, as a digest, and when the file of it that was changed last was."""

    digest: str
    changed_ns: int


class _Told(msgspec.Struct, frozen=True):
    at_ms: int
    basis: _Basis
    agreed: AgreedStatus


def agreed_again(node: Node) -> AgreedStatus:
    """What the contracts say, without asking them where nothing of the chain changed since. Raises as
    ``agreed_status``."""
    before, now_ms = _basis(node), node.clock.now_ms()
    kept = None if before is None else _kept(node, before, now_ms)
    if kept is not None:
        return kept
    found = agreed_status(node)
    quiet = before is not None and before.changed_ns + JUST_NOW_NS <= now_ms * 1_000_000
    if before is not None and quiet and before == _basis(node):
        told = msgspec.json.encode(_Told(now_ms, before, found))
        try:
            write_private(node.settings.home / AGREED_FILE, seal(node.identity.sealing_key(), told, _AAD))
        except (OSError, CryptoError, TwinwardError):
            return found  # a home that nobody can write to keeps none
    return found


def _kept(node: Node, basis: _Basis, now_ms: int) -> AgreedStatus | None:
    try:
        with (node.settings.home / AGREED_FILE).open("rb") as file:
            sealed = file.read(_MOST_BYTES)
        told = msgspec.json.decode(open_sealed(node.identity.sealing_key(), sealed, _AAD), type=_Told)
    except (OSError, CryptoError, TwinwardError, msgspec.MsgspecError):
        return None
    same_day = told.at_ms <= now_ms and told.at_ms // DAY_MS == now_ms // DAY_MS
    return told.agreed if same_day and told.basis == basis else None


def _basis(node: Node) -> _Basis | None:
    """As it is now; None where no answer is kept."""
    if node.settings.chain or node.restored is not None:
        return None
    vendors = [(one.id, one.name) for one in node.accounts.of_role(Role.VENDOR)]
    asked = msgspec.json.encode([__version__, node.settings.tenant, node.known_names(), vendors])
    digest, changed_ns = hashlib.sha256(asked), 0
    try:
        for name in _FILES:
            state = _state(node.settings.home / name)
            if state is not None:
                digest.update(f"{name}{state}".encode())
                changed_ns = max(changed_ns, state[-1])
    except OSError:
        return None
    return _Basis(digest.hexdigest(), changed_ns)


def _state(path: Path) -> tuple[int, ...] | None:
    """A file's; None of one that is not there, or that says nothing. Raises ``OSError``, also for one elsewhere."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise OSError("a link: its target may change and it does not")
    return None if says_nothing(path.name, found) else state_of(found)
