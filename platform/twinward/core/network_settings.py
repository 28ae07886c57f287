"""Settings of where requests come from: proxies that are believed, and the hospital's networks by name."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

INSIDE: Final = "node"
"""What rules call the node's own machine: its own jobs, and commands that are typed there. Never a request."""
OUTSIDE: Final = "outside"
"""What they call wherever no network of the settings reaches."""
_MOST: Final = 64


def _proxies(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("a trusted proxy is an IP address or a network, such as 10.0.0.0/24") from None
    if not network.prefixlen:
        raise ValueError("to trust every address is to trust whoever asks: name the proxy's own")
    return str(network)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("a network is an IP address or a range of them, such as 10.20.0.0/16") from None


def _apart(networks: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    if len(networks) > _MOST:
        raise ValueError(f"there are at most {_MOST} networks")
    if taken := sorted({INSIDE, OUTSIDE} & networks.keys()):
        raise ValueError(f"{taken[0]} is what rules call a place already: call the network otherwise")
    every = [one for ranges in networks.values() for one in ranges]
    if twice := sorted(one for one in set(every) if every.count(one) > 1):
        raise ValueError(f"{twice[0]} is in two networks: which of them would a rule mean?")
    return networks


ProxyNetwork = Annotated[str, AfterValidator(_proxies)]
"""An IP address or network in canonical form."""
NetworkName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Range = Annotated[str, AfterValidator(_network)]


class NetworkSettings(BaseSettings):
    """Of proxies and networks."""

    trusted_proxies: Annotated[tuple[ProxyNetwork, ...], Field(max_length=64)] = ()
    """Addresses or networks of proxies in front of this node, whose X-Forwarded-For is believed; nobody's unless named.
    On a machine with other users, any of their processes can speak as a proxy at 127.0.0.1."""
    networks: Annotated[
        dict[NetworkName, Annotated[tuple[Range, ...], Field(min_length=1, max_length=_MOST)]], AfterValidator(_apart)
    ] = {}
    """The hospital's networks by the names that rules of the policy call them: ``{"ward" = ["10.20.0.0/16"]}``. Of
    several that hold an address the narrowest counts; what is in none is ``outside``."""
