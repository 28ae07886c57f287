"""Which sign-ins are looked at: a brake by address and by account that no stranger can use to lock officers out.

Attempts from browsers that never signed in are counted by address (an IPv6 one by its /64, which is what one client
has), by account and address, and by account. A browser that has signed in before carries a cookie that says so and is
counted by itself alone: however many strangers try, and from however many addresses, the officer gets in from her own
browser (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"). Names that are nobody's are counted alike.

Counts live in this process: a restart forgets them. The cookie's key is the hospital's, so that it does not.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from twinward.access.errors import TooManyAttempts
from twinward.core.clock import Clock
from twinward.core.rate_limit import MovingWindow, network_of

PER_ADDRESS, ADDRESS_WINDOW_MS = 10, 60_000
PER_PAIR, PER_ACCOUNT, PER_BROWSER, ACCOUNT_WINDOW_MS = 5, 20, 10, 15 * 60_000
"""No address can fill an account's count alone: it takes four of them to hold strange browsers off one account."""
BROWSER_LIFETIME_MS = 90 * 86_400_000
_DOMAIN = b"twinward/known-browser/1\n"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that may go on: as what it was counted."""

    counted: tuple[tuple[MovingWindow, str], ...]

    def succeeded(self) -> None:
        """It was right: it stands in nobody's way."""
        for attempts, key in self.counted:
            attempts.take_back(key)


class SignInGate:
    """The brake. ``key``: 32 secret bytes under which known browsers' cookies are authentic."""

    def __init__(self, clock: Clock, key: bytes) -> None:
        self._clock = clock
        self._key = key
        self._addresses = MovingWindow(clock, PER_ADDRESS, ADDRESS_WINDOW_MS)
        self._pairs = MovingWindow(clock, PER_PAIR, ACCOUNT_WINDOW_MS)
        self._accounts = MovingWindow(clock, PER_ACCOUNT, ACCOUNT_WINDOW_MS)
        self._browsers = MovingWindow(clock, PER_BROWSER, ACCOUNT_WINDOW_MS)

    def admit_address(self, address: str, account: str, cookie: str) -> None:
        """Before a form is looked at. Raises ``TooManyAttempts``."""
        if not self._browser(cookie, account):
            _require(self._addresses.admit(network_of(address)))

    def take_back_address(self, address: str) -> None:
        """One of an address that was counted was right: it stands in nobody's way."""
        self._addresses.take_back(network_of(address))

    def admit(self, address: str, account: str, cookie: str) -> Attempt:
        """Before a password is looked at: counted at once, so that many at the same time are not one.

        Raises:
            TooManyAttempts: too many failed before it.
        """
        browser = self._browser(cookie, account)
        if browser and not self._browsers.admit(browser):
            return Attempt(((self._browsers, browser),))
        # A known browser that failed too often is a strange one from here on.
        name = hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()
        pair = f"{name} {network_of(address)}"
        _require(self._pairs.admit(pair))
        wait_ms = self._accounts.admit(name)
        if wait_ms:
            self._pairs.take_back(pair)
            _require(wait_ms)
        return Attempt(((self._pairs, pair), (self._accounts, name)))

    def cookie(self, account: str) -> str:
        """What a browser keeps after signing in to an account. It names nobody."""
        nonce, at_ms = secrets.token_urlsafe(16), self._clock.now_ms()
        return f"{nonce}.{at_ms}.{self._mac(nonce, str(at_ms), account)}"

    def _browser(self, cookie: str, account: str) -> str:
        """Which browser it is, if it has signed in to this account before; else empty."""
        nonce, _, rest = cookie.partition(".")
        at_ms, _, mac = rest.partition(".")
        if not hmac.compare_digest(self._mac(nonce, at_ms, account).encode(), mac.encode("utf-8", "surrogatepass")):
            return ""
        return nonce if 0 <= self._clock.now_ms() - int(at_ms) < BROWSER_LIFETIME_MS else ""

    def _mac(self, nonce: str, at_ms: str, account: str) -> str:
        # A nonce and a time hold no line break, so that no two different triples have the same bytes.
        text = f"{nonce}\n{at_ms}\n{account}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, _DOMAIN + text, "sha256").hex()


def _require(wait_ms: int) -> None:
    if wait_ms:
        raise TooManyAttempts(-(-wait_ms // 1000))
