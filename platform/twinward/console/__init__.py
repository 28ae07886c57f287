"""The officer's console: server-rendered pages and one script, no assets from elsewhere."""

from twinward.console.pages import mount

__all__ = ["mount"]
