"""The officer's console: server-rendered pages and two scripts, no assets from elsewhere."""

from twinward.console.mounting import mount

__all__ = ["mount"]
