"""The console's cookies: HttpOnly and SameSite=Strict; over TLS also Secure, under names no other site can set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from twinward.api.http.fair_share import HOST_ONLY
from twinward.console.address import PATH

"""RFC 6265bis section 4.1.3.2: browsers take such a name over TLS, from this very host, and for all of its paths."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """The cookies of one request. ``secure``: whether they may travel over TLS only."""

    request: Request
    secure: bool

    def get(self, name: str) -> str:
        """A cookie, or nothing."""
        return self.request.cookies.get(self._full(name), "")

    def set(
        self,
        response: Response,
        name: str,
        value: str,
        max_age_s: int,
        *,
        samesite: Literal["strict", "lax"] = "strict",
    ) -> None:
        """Have the browser keep one for so long."""
        response.set_cookie(
            self._full(name),
            value,
            max_age=max_age_s,
            path=self._path,
            secure=self.secure,
            httponly=True,
            samesite=samesite,
        )

    def drop(self, response: Response, name: str) -> None:
        """Have the browser forget one."""
        response.delete_cookie(self._full(name), path=self._path, secure=self.secure, httponly=True, samesite="strict")

    @property
    def _path(self) -> str:
        return "/" if self.secure else PATH

    def _full(self, name: str) -> str:
        return f"{HOST_ONLY}{name}" if self.secure else name
