"""The command line. Exit codes: 0 all went well, 1 some items failed, 2 wrong usage or input.

One module a group of commands; each adds its own to `app` when it is imported. Heavy imports stand inside the commands, so
that `harken --help` answers at once. Rooms above the engine (training, bench) and other packages bring theirs as entry
points of the group `harken.commands`, each naming a module; one that cannot be imported is named, and the others go on.
"""

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from typer import Typer

from .app import app
from .output import say


def application() -> Typer:
    """The command line with every command in it."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    for entry in entry_points(group="harken.commands"):
        try:
            entry.load()
        except Exception as error:  # another package's module may fail in any way
            say(f"harken: the commands of {entry.value} are left out: {type(error).__name__}: {error}")
    return app


def main(arguments: list[str] | None = None) -> object:
    """The entry point `harken`."""
    return application()(arguments)
