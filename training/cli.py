"""The commands of the training room: they add themselves to the engine's command line (entry point `harken.commands`)."""
