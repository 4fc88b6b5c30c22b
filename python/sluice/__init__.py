"""Sluice in Python: the engine of the server, for notebooks and offline scoring.

>>> import sluice
>>> model = sluice.Model("demo/models/click/1")
>>> scores = model.run({"ids": ids, "dense": dense})["click_probability"]
"""

from ._native import Tensor
from ._native import version as __version__
from .errors import (
    Error,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
    UnimplementedError,
)
from .model import Model, TensorInfo
from .report import Report

__all__ = [
    "Error",
    "InternalError",
    "InvalidArgumentError",
    "Model",
    "NotFoundError",
    "PermissionDeniedError",
    "Report",
    "ResourceExhaustedError",
    "Tensor",
    "TensorInfo",
    "UnavailableError",
    "UnimplementedError",
    "__version__",
]
