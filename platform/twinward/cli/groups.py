"""Nouns of the command line whose verbs are imported when they are asked for: ``--help`` is quick, and a verb loads
what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from importlib import import_module
from typing import Final

import click
import typer
from typer.core import TyperGroup

MARKUP: Final = "markdown"
_ROOM = "twinward.cli"


class Noun(TyperGroup):
    """A group of verbs.

    Args:
        name: as it is typed.
        help: one line.
        verbs: for each, as it is typed, the function that does it: ``module:function`` below ``twinward.cli``.
    """

    def __init__(self, name: str, help: str, verbs: Mapping[str, str]) -> None:
        self._verbs = dict(verbs)
        self._loaded: dict[str, click.Command] = {}
        super().__init__(name=name, help=help, no_args_is_help=True, rich_markup_mode=MARKUP)

    @property
    def commands(self) -> MutableMapping[str, click.Command]:
        """All verbs, imported."""
        return {verb: self._load(verb) for verb in self._verbs}

    @commands.setter
    def commands(self, found: MutableMapping[str, click.Command]) -> None:
        self._loaded = dict(found)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        del ctx
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One verb; only its own module is imported."""
        del ctx
        return self._load(cmd_name) if cmd_name in self._verbs else None

    def _load(self, verb: str) -> click.Command:
        if verb not in self._loaded:
            path, _, name = self._verbs[verb].partition(":")
            function = getattr(import_module(f"{_ROOM}.{path}"), name)
            # A verb that two nouns share names in its example the one it was asked by.
            shown = (function.__doc__ or "").replace(
                f"twinward {path.partition('.')[0]} {verb}", f"twinward {self.name} {verb}"
            )
            alone = typer.Typer(rich_markup_mode=MARKUP, add_completion=False)
            alone.command(verb, help=shown)(function)
            self._loaded[verb] = typer.main.get_command(alone)
        return self._loaded[verb]
