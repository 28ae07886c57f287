"""Under which address the console stands. Apart from what stands there: whoever links to it loads none of that."""

from __future__ import annotations

from typing import Final

PATH: Final = "/console"
