"""How a small graph is described: a module, example inputs and what is dynamic."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(frozen=True)
class Graph:
    """One model to export.

    `inputs` maps a name to an example tensor, in the order of `forward`'s parameters. Dimension 0
    of each input is the batch unless `axes` (input name -> {dimension: symbol}) says otherwise.
    Integer inputs are drawn from [0, high[name]). `both`: whatever its place, both exporters take it.
    """

    name: str
    module: Callable[[], nn.Module]
    inputs: dict[str, torch.Tensor]
    axes: dict[str, dict[int, str]] | None = None
    high: dict[str, int] = field(default_factory=dict)
    both: bool = False

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Input name -> {dimension: symbol}."""
        return self.axes if self.axes is not None else {name: {0: "batch"} for name in self.inputs}


def floats(*shape: int) -> torch.Tensor:
    """Normal values, f32."""
    return torch.randn(*shape)


def integers(high: int, *shape: int) -> torch.Tensor:
    """Values in [0, high), int64."""
    return torch.randint(0, high, shape)
