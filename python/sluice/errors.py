"""What the engine refuses, as exceptions with the engine's own words: expected, got, and where."""

from __future__ import annotations


class Error(Exception):
    """Base of all exceptions of this package."""


class InvalidArgumentError(Error, ValueError):
    """An input or a model file is wrong."""


class NotFoundError(Error, FileNotFoundError):
    """No such file or folder."""


class PermissionDeniedError(Error, PermissionError):
    """A file must not be read, or leads out of the model's folder."""


class UnimplementedError(Error, NotImplementedError):
    """A feature that a model names and this engine does not have."""


class ResourceExhaustedError(Error, MemoryError):
    """A limit was reached or memory refused."""


class UnavailableError(Error, RuntimeError):
    """Not possible now."""


class InternalError(Error, RuntimeError):
    """A failure of the engine itself."""


#: Which exception stands for which code of the engine.
BY_CODE: dict[str, type[Error]] = {
    "INVALID_ARGUMENT": InvalidArgumentError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": InvalidArgumentError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "UNIMPLEMENTED": UnimplementedError,
    "RESOURCE_EXHAUSTED": ResourceExhaustedError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": UnavailableError,
    "CANCELLED": UnavailableError,
    "INTERNAL": InternalError,
}
