"""Every error harken raises on purpose: it names the input, says what is wrong, and what would be right.

An InputError is the caller's to mend, a BackendError the machine's; both are HarkenErrors, so that one `except` catches
all of them. They are also the built-in kinds (ValueError, RuntimeError) that callers of numerical code already catch.
"""


class HarkenError(Exception):
    """Base of all errors raised on purpose."""


class InputError(HarkenError, ValueError):
    """An argument has the wrong shape, dtype, range or content."""


class AudioError(InputError):
    """A sound that cannot be embedded: unreadable, empty, not sound, holding NaNs, or longer than the recipe allows."""


class ModelError(HarkenError, ValueError):
    """A checkpoint, adapter or recipe that cannot be used as it is: a tensor or a field is missing, unknown or misshapen."""


class FingerprintError(HarkenError, ValueError):
    """Vectors made by different models, adapters, recipes or front ends were about to be compared or stored together."""


class FileFormatError(HarkenError, ValueError):
    """A file of harken's own (vectors, index, manifest) that is damaged, truncated or of an unknown version."""


class BackendError(HarkenError, RuntimeError):
    """A backend that was asked for by name cannot run here."""


class OutputError(HarkenError, OSError):
    """A result that cannot be written: the disk is full, or the place is read-only."""
