"""Calling a node over HTTP with a token: which addresses, which proxies and which certificates.

A proxy is taken from the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY) as httpx does, but never for a loopback
address: what stays on this machine has no use for one, and over plain http a proxy would read the token.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twinward.core.errors import BadInput

if TYPE_CHECKING:
    import httpx

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def require_address(url: str) -> tuple[str, str]:
    """Scheme and host of an address such as ``https://twinward.example``. Raises ``BadInput``.

    It holds no name, password, query or fragment: the token that was issued is the only credential that travels.
    """
    try:
        parts = urlsplit(url)
        host, stray = parts.hostname or "", "@" in parts.netloc or "?" in url or "#" in url
        bad = parts.scheme not in ("http", "https") or not host or stray or parts.port == 0 or not url.isprintable()
    except ValueError:
        bad, host, parts = True, "", urlsplit("")
    if bad or " " in url:
        raise BadInput("the hospital's address is not a URL", hint="for instance https://twinward.example")
    return parts.scheme, host


def require_private(url: str, *, plain_http: bool) -> None:
    """A token must not cross a network in the clear. Raises ``BadInput``."""
    scheme, host = require_address(url)
    if scheme == "http" and not plain_http and not (is_loopback(host) and not host.lower().endswith(".localhost")):
        raise BadInput(
            "plain http would show your token to the network", hint="use https://, or give --plain-http (plain_http)"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: a loopback or unspecified address however written, or localhost (RFC 6761)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1 and 0x7f000001 are connected to as well
        except (OSError, UnicodeError):
            return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def normalised(url: str) -> str:
    """The address by which a hospital is looked up: scheme and host in lower case, no default port, no last slash."""
    scheme, host = require_address(url)
    parts = urlsplit(url)
    port = None if parts.port in (None, {"http": 80, "https": 443}[scheme]) else parts.port
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def connection(base_url: str, *, timeout: httpx.Timeout | float, plain_http: bool = False) -> httpx.Client:
    """A client for one hospital. Raises ``BadInput``: the address, a proxy or a certificate file cannot be used."""
    import httpx

    settings = _settings(base_url, plain_http=plain_http)
    try:
        return httpx.Client(timeout=timeout, **settings)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise _no_proxy(error) from error


def async_connection(base_url: str, *, timeout: httpx.Timeout | float, plain_http: bool = False) -> httpx.AsyncClient:
    """``connection``, for asyncio."""
    import httpx

    settings = _settings(base_url, plain_http=plain_http)
    try:
        return httpx.AsyncClient(timeout=timeout, **settings)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise _no_proxy(error) from error


def require_token(token: str) -> str:
    """A token that can stand in a header. Raises ``BadInput``, which does not show it."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput("what was given is no token", hint="`twinward node add-system` prints one")
    return token


def why_silent(error: httpx.HTTPError) -> tuple[str, str]:
    """Why a node gave no answer, and what to do, in our words; no hint where nothing better is known."""
    import httpx

    if isinstance(error, httpx.ProxyError):
        return "the proxy of the environment does not let this through", "see HTTPS_PROXY and NO_PROXY"
    certificate = _cause(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        why = str(getattr(certificate, "verify_message", "")) or "not verified"
        return (
            f"the server's certificate is not accepted: {why}; nothing was sent",
            "is it the right address? SSL_CERT_FILE names a file with the authority's certificates",
        )
    if _cause(error, ssl.SSLError) is not None:
        return "no TLS connection can be made; nothing was sent", "does it serve https there?"
    via = "; a proxy of the environment was asked" if _proxied(error) else ""
    return f"no answer ({type(error).__name__}{via})", ""


def _settings(base_url: str, *, plain_http: bool) -> dict[str, Any]:
    require_private(base_url, plain_http=plain_http)
    _, host = require_address(base_url)
    return {"verify": _authorities(), "trust_env": not is_loopback(host), "follow_redirects": False}


def _authorities() -> ssl.SSLContext:
    """Whose certificates count. Raises ``BadInput``, naming the variable, where a file or folder is none."""
    import httpx

    for variable in _CERTIFICATES:
        path = os.environ.get(variable)
        if not path:
            continue
        try:
            if variable == "SSL_CERT_FILE":
                return ssl.create_default_context(cafile=path)
            os.scandir(path).close()
            return ssl.create_default_context(capath=path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it holds no certificate"
            raise BadInput(
                f"{variable} names certificates that cannot be used: {path}: {why}", hint=f"put {variable} right"
            ) from None
    return httpx.create_ssl_context(trust_env=False)


def _no_proxy(error: Exception) -> BadInput:
    what = "it needs the package socksio" if isinstance(error, ImportError) else "it is not a proxy's address"
    hint = "see HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; for SOCKS: pip install 'httpx[socks]'"
    return BadInput(f"the proxy that the environment names cannot be used: {what}", hint=hint)


def _proxied(error: httpx.HTTPError) -> bool:
    """Whether the environment has a proxy for what was asked (NO_PROXY leaves one out; a loopback address has none)."""
    from urllib.request import getproxies, proxy_bypass

    try:
        url = error.request.url
    except RuntimeError:
        return False
    proxies = getproxies()
    named = url.scheme in proxies or "all" in proxies
    return named and not is_loopback(url.host) and not proxy_bypass(url.host)


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first of a kind among an error and what led to it."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, kind):
        seen = seen.__cause__ or seen.__context__
    return seen
