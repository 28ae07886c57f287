"""Whether the databases that are opened are the ones a home works with.

A file that is gone, a volume that is not mounted or a variable left from another shell must not make a node begin
anew: an empty keyring makes new keys for patients whose records are sealed under others, and an empty or older log
takes accesses that nobody looks for there. So records, keyring and log are looked at before anything is done with them.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from twinward.audit.errors import LogTampered, of_the_ledger
from twinward.core.config import FILE_NAME, Settings
from twinward.node.errors import StoresNotOwn
from twinward.node.node import Node
from twinward.node.restored_home import DATABASES
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import LogCorrupt, MalformedCheckpoint, QuorumNotReached
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.leaf import LeafKind
from twinward_ledger.formats.note import Note

_SQLITE = "sqlite:"
_CALLED = {
    "records": "database of sealed records",
    "keyring": "keyring",
    "log": "access log",
    "state": "database of accounts and consents",
}
_PLACE_IN_QUERY = frozenset({"host", "hostaddr", "port", "dbname", "service"})
_HINT = (
    f"mount it, or name in {FILE_NAME} where it is; else restore the node from a backup: only `twinward node init` "
    "makes a new one"
)
_CUT_OFF = (
    "keep this home as evidence; `twinward node restore --replace` puts back the newest backup, and sets it aside"
)


def require_named_in_home(settings: Settings) -> None:
    """Raise ``StoresNotOwn`` where the environment names other databases than the home's own file does.

    The account may be another one: a backup's, say.
    """
    written = Settings.written(settings.home)
    own = settings.model_copy(update={name: str(written.get(name, "")) for name in DATABASES}).databases
    for name in DATABASES:
        if _place(settings.databases.get(name, "")) != _place(own.get(name, "")):
            variable = f"TWINWARD_{name.upper()}"
            raise StoresNotOwn(
                f"{variable} names another database than {settings.home / FILE_NAME} does",
                hint=f"unset {variable}; where the database has moved, write its new address into {FILE_NAME}",
            )


def require_there(settings: Settings) -> None:
    """Raise ``StoresNotOwn`` where a database is a file that is not there: to open it would make it."""
    for name, uri in settings.databases.items():
        if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).exists():
            raise StoresNotOwn(f"the {_CALLED[name]} is gone: there is no file {uri.removeprefix(_SQLITE)}", hint=_HINT)


def require_of_one_node(node: Node) -> None:
    """Hold records, keyring and log against each other, and the log against what its home kept of it.

    Raises:
        StoresNotOwn: one of them is empty, and another shows that it was not.
        LogTampered: the log is shorter than, or another one than, what it had signed.
        LedgerError: it cannot be read.
    """
    store = node.log.store
    if store.size() == 0 and node.store.count():
        raise StoresNotOwn("the access log is empty, and there are records: it is another one", hint=_HINT)
    if node.keyring.is_empty() and any(leaf[1] == LeafKind.ACCESS for leaf in store.leaves(0, store.size())):
        raise StoresNotOwn("the keyring is empty, and events are sealed under its keys: it is another one", hint=_HINT)
    destroyed = node.keyring.outlived_kek()
    if destroyed is not None:
        raise StoresNotOwn(
            f"the keyring is an older copy: its keys are wrapped under KEK {destroyed}, which was destroyed since",
            hint="put the newest keyring back: what is sealed meanwhile under an older one opens nowhere later",
        )
    note = node.anchors.largest()
    if note is None:
        return
    try:
        node.log.require_extends(node.log.open(note)[0])
    except LogCorrupt as error:
        raise LogTampered(of_the_ledger(error), first_bad_index=error.first_bad_index, hint=_CUT_OFF) from error
    except (InvalidSignature, MalformedCheckpoint):
        _require_no_lost_key(node, note)


def _require_no_lost_key(node: Node, note: bytes) -> None:
    """Raise ``LogTampered`` where witnesses of this log have cosigned what a key signed that it does not know.

    Then it is an older copy, from before the key was changed. Anything else is no word of this log's, and says nothing.
    """
    try:
        parsed = Note.parse(note)
        told = Checkpoint.parse(parsed.text)
        if told.origin != node.log.origin or not node.audit.anchorer.policy.require(parsed):
            return
    except (InvalidSignature, MalformedCheckpoint, QuorumNotReached):
        return
    raise LogTampered(
        f"the access log is an older copy: witnesses have cosigned its {told.size} entries under a key that it took up "
        "since",
        first_bad_index=None,
        hint=_CUT_OFF,
    )


def _place(uri: str) -> tuple[object, ...]:
    """Which database a URI names, whoever asks."""
    if uri.startswith(_SQLITE):
        return ("file", str(Path(uri.removeprefix(_SQLITE)).absolute()))
    parts = urlsplit(uri)
    rest = sorted(one for one in parse_qsl(parts.query) if one[0] in _PLACE_IN_QUERY)
    return (parts.scheme, parts.netloc.rpartition("@")[2].lower(), parts.path, *rest)
