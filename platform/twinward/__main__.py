"""``python -m twinward``."""

from twinward.cli.main import run

run()
