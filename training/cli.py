"""The commands of the training room: they add themselves to the engine's command line (entry point `harken.commands`)."""

from . import commands_captions as commands_captions
from . import commands_data as commands_data
from . import commands_mine as commands_mine
from . import commands_train as commands_train
