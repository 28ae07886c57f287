"""Where a broker is and how one is known to it."""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from twinward.core.errors import BadInput
from twinward.live.intake.lines import NAME, require_name
from twinward.live.models import MAX_NAME_CHARS

APART: Final = ".apart"
"""Ends the name of a source whose numbers are made here: no device is called so."""
_TOPIC_CHARS: Final = 1_000
_DIGEST_CHARS: Final = 24
_LEVEL: Final = re.compile(r"[^+#\x00]*")


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker.

    Attributes:
        host, port: where.
        tls: how its certificate is checked and ours is shown; None without TLS.
        user, password: where it asks for them.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Topic:
    """What is subscribed to, and which source a message on it is of.

    Attributes:
        filter: an MQTT topic filter with one ``+`` at most, and no ``#``.
        source: of all messages; what stands for ``+`` is added behind a dot, since each device numbers its own. Where
            that makes no name, and of a topic that was followed before, it is a digest: two devices are never one.
    """

    filter: str
    source: str

    def source_of(self, topic: str) -> str:
        """The source of a message."""
        if topic == self.filter:
            return self.source
        before, plus, after = self.filter.partition("+")
        is_ours = bool(plus) and topic.startswith(before) and topic.endswith(after)
        level = topic[len(before) : len(topic) - len(after)] if is_ours else ""
        named = f"{self.source}.{level}"
        if level and not level.startswith("-") and not level.endswith(APART) and NAME.fullmatch(named):
            return named
        digest = hashlib.sha256(topic.encode()).hexdigest()[:_DIGEST_CHARS]
        return f"{self.source[: MAX_NAME_CHARS - _DIGEST_CHARS - 2]}.-{digest}"


def broker_at(
    url: str,
    *,
    authority: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    user: str = "",
    password: str = "",
) -> Broker:
    """A broker by its URL.

    Args:
        url: ``mqtts://host[:8883]``, or ``mqtt://host[:1883]`` on this machine.
        authority: who signed its certificate, where the system does not know.
        certificate, key: our own, where it asks for one.

    Raises:
        BadInput: no such URL or files; a broker elsewhere without TLS, to whom anybody between could be the ward.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if (
        parts.scheme not in ("mqtt", "mqtts")
        or not host
        or parts.path not in ("", "/")
        or parts.query
        or parts.username
    ):
        raise BadInput("a broker is mqtts://host:port", hint="its user goes into --user, topics into --topic")
    if parts.scheme == "mqtt":
        if host not in ("localhost", "127.0.0.1", "::1"):
            raise BadInput("a broker elsewhere is reached by mqtts://", hint="or by a tunnel that ends on this machine")
        return Broker(host, port or 1883, None, user, password)
    return Broker(host, port or 8883, _tls(authority, certificate, key), user, password)


def topic_of(text: str, source: str) -> Topic:
    """A topic filter. Raises ``BadInput``."""
    require_name(source, "source")
    levels = text.split("/")
    is_plain = all(one == "+" or _LEVEL.fullmatch(one) for one in levels)
    if not text or len(text) > _TOPIC_CHARS or not is_plain or levels.count("+") > 1 or text.startswith("$"):
        raise BadInput(
            "a topic has one + at most, and no #", hint="e.g. ward-3/+/readings: what stands for + names a source"
        )
    return Topic(text, source)


def _tls(authority: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    if (certificate is None) != (key is None):
        raise BadInput("a certificate and its key come together", hint="--cert FILE --key FILE")
    try:
        made = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        raise BadInput(
            "no certificate, key or authority in these files", hint="PEM files that this user may read"
        ) from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made
