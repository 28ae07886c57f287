"""From which of the hospital's networks a request comes, by the address that it came from.

The address is the socket's other end, or what a trusted proxy says of it (``cli.server``); no header of a client says
it. A proxy of the hospital's is no place: whose address is one is not known to be anywhere, and counts as outside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from twinward.core.network_settings import INSIDE, OUTSIDE

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_REMEMBERED: Final = 4096


class Networks:
    """The hospital's networks.

    Args:
        named: name -> its ranges of addresses, as the settings have them.
        proxies: ranges of proxies in front of the node.
    """

    def __init__(self, named: Mapping[str, Iterable[str]] | None = None, proxies: Iterable[str] = ()) -> None:
        ranges = [(_parsed(one), name) for name, every in (named or {}).items() for one in every]
        self._ranges = sorted(ranges, key=lambda one: -one[0].prefixlen)
        self._proxies = [_parsed(one) for one in proxies]
        self.names: tuple[str, ...] = (*(named or {}), INSIDE, OUTSIDE)
        """All that a rule may name."""
        self.of = lru_cache(maxsize=_REMEMBERED)(self._of)
        """The name of the network that an address is in; ``outside`` for what is in none, or is no address."""

    def _of(self, address: str) -> str:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return OUTSIDE
        found = getattr(found, "ipv4_mapped", None) or found  # a socket for both families says 10.0.0.1 by ::ffff:
        if not self._ranges or any(found in one for one in self._proxies):
            return OUTSIDE
        return next((name for network, name in self._ranges if found in network), OUTSIDE)


def _parsed(text: str) -> _Network:
    return ipaddress.ip_network(text)
