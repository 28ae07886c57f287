"""What theory says of one stage in the long run: A. K. Erlang, "Løsning af nogle Problemer …", 1917.

Both take the offered load ``a`` (arrivals an hour × mean hours) and ``c`` servers. B holds for stays of any kind (it is
insensitive to all but their mean), C for exponential ones.
"""

from __future__ import annotations


def erlang_b(servers: int, load: float) -> float:
    """The share of patients who find all servers busy, where nobody may wait.

    By the recursion ``B(n) = a B(n-1) / (n + a B(n-1))``, which loses no digits where factorials overflow.
    """
    blocked = 1.0
    for one in range(1, servers + 1):
        blocked = load * blocked / (one + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """The share of patients who wait, where all may; 1 where the load is not less than the servers."""
    if load >= servers:
        return 1.0
    blocked = erlang_b(servers, load)
    return servers * blocked / (servers - load * (1.0 - blocked))


def mean_wait_h(servers: int, load: float, mean_h: float) -> float:
    """The mean wait of all patients, hours, where all may wait; infinite where the load is too much."""
    if load >= servers:
        return float("inf")
    return erlang_c(servers, load) * mean_h / (servers - load)
