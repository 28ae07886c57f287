"""The log's files over HTTP (c2sp.org/tlog-tiles), for anybody: other people's tools read and check the log with them.

No account is wanted: a leaf is a salted commitment with a kind and a minute, and names nobody. What it does tell, how
many events of which kind there were in which minute, is in the threat model; ``publish_log = false`` keeps it back.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse, Response

from twinward.api.http.representation import acceptable
from twinward.core.errors import NotFound, Unavailable
from twinward_ledger.errors import LedgerError, NoSuchEntry
from twinward_ledger.log.static_files import CHECKPOINT, LogFile, LogFiles

PREFIX = "/log"
FOREVER = "public, max-age=31536000, immutable"
PARTIAL = "public, max-age=86400"
"""A partial tile never changes either, but the log need not keep it once there is a wider one."""

NOT_KEPT = "no-cache"


class _Bytes(Response):
    media_type = "application/octet-stream"


def log_files_router(files: LogFiles) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix=PREFIX, tags=["Log"], dependencies=[Depends(acceptable)])

    @router.get(
        "/checkpoint", summary="The newest checkpoint a quorum co-signed; public", response_class=PlainTextResponse
    )
    def checkpoint() -> Response:
        return _answer(_read(files, CHECKPOINT))

    @router.get("/tile/{path:path}", summary="Part of the tree, or leaves under it; public", response_class=_Bytes)
    def tile(path: str) -> Response:
        return _answer(_read(files, f"tile/{path}"))

    return router


def _read(files: LogFiles, path: str) -> LogFile:
    try:
        return files.read(path)
    except NoSuchEntry as error:
        raise NotFound(str(error)) from None
    except LedgerError as error:
        raise Unavailable("the log cannot be read now") from error


def _answer(file: LogFile) -> Response:
    keeping = NOT_KEPT if file.path == CHECKPOINT else FOREVER if file.immutable else PARTIAL
    return Response(file.content, media_type=file.media_type, headers={"cache-control": keeping})
