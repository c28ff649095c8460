"""Errors that a user can act on: each message says what was expected, what came, and what to do."""

from __future__ import annotations


class InContextError(Exception):
    """Base of every error this package raises on purpose; its message is one readable sentence or two."""


class InputError(InContextError, ValueError):
    """An image, labels, a slice number or a setting does not fit."""


class FileError(InContextError, OSError):
    """A file cannot be read, written or replaced."""


class ModelError(InContextError, ValueError):
    """A model is not known, or its settings contradict each other."""


class CheckpointError(ModelError):
    """Weights cannot be loaded: wrong file, missing or misshapen keys, unsafe content."""


class KeyFileError(InContextError, ValueError):
    """A key cannot be used: it is none, damaged, of a newer version, or was learned with another model."""


class DownloadError(InContextError, OSError):
    """Weights cannot be fetched, or what came is not what was expected."""


class DeviceError(InContextError, RuntimeError):
    """The device asked for does not exist on this machine."""


class ResourceError(InContextError, MemoryError):
    """Memory or disk ran out."""


class DegradedDataWarning(UserWarning):
    """The input was usable, but something in it was ignored, repaired or odd (NaN, extra channels, a wrong file)."""
