"""Models: load an ONNX file once, run it on arrays from any thread."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from . import _native
from .report import Report


class TensorInfo(NamedTuple):
    """An input or output as the model file declares it.

    Attributes
    ----------
    name : str
    dtype : str
        The Open Inference Protocol's name, such as ``"FP32"`` or ``"INT64"``.
    shape : tuple of (int, str or None), or None
        A size, or the name of an open dimension, or None for one without a name. None as a whole:
        even the rank is open.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


class Model:
    """A compiled model with its weights packed.

    Thread-safe: `run` lets go of the GIL while it computes, and calls at one time do not wait for
    each other. Models with equal weights share them within the process. The same row gives the same
    bits in any batch and with any number of threads, on one kind of machine.

    Parameters
    ----------
    path : str or os.PathLike
        An ONNX file, or a folder with ``model.onnx``. With a ``tokenizer.json`` beside it the model
        takes ``text`` (and ``text_pair``) in place of ids.
    weights : {"f32", "bf16", "int8", "bf16-storage", "int8-storage"}, optional
        What linear layers keep their weights as. By default what ``MODEL.onnx.weights.json`` beside
        the file says, else f32.
    batching : {"prove", "declare", "never"}
        Whether rows of dimension 0 may run apart: where it is proven, because you say so, or never.
    threads : int
        Threads that one call may use, the caller's among them. Several calls at one time share them.
    text_tokens_max : int, optional
        Where texts are cut; by default what the model takes.

    Raises
    ------
    NotFoundError
        There is no such file.
    InvalidArgumentError
        The file is no valid model, or an option has no such value.
    UnimplementedError
        The model uses something that the engine does not have; the message names the node.

    Examples
    --------
    >>> model = Model("demo/models/package_encoder/1")
    >>> model.run({"text": ["draws graphs", "plots data"]})["embedding"].shape
    (2, 256)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        weights: Literal["f32", "bf16", "int8", "bf16-storage", "int8-storage"] | None = None,
        batching: Literal["prove", "declare", "never"] = "prove",
        threads: int = 1,
        text_tokens_max: int | None = None,
    ) -> None:
        self._path = os.fspath(path)
        self._native = _native.Model(self._path, weights or "", batching, threads, text_tokens_max or 0)
        self._inputs = tuple(TensorInfo(*row) for row in self._native.inputs())
        self._outputs = tuple(TensorInfo(*row) for row in self._native.outputs())

    def __repr__(self) -> str:
        return f"sluice.Model({self._path!r})"

    def run(
        self,
        inputs: Mapping[str, Any] | Any,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Run the model on one batch.

        Parameters
        ----------
        inputs : mapping of str to array_like, or array_like
            By name; for a model with one input its value alone will do. Packed NumPy arrays and
            host tensors with ``__dlpack__`` (PyTorch's, for one) are read where they lie; strided
            arrays are copied; lists take the input's type. Types must be those of the model: nothing
            is cast. Strings are lists of str or bytes.
        outputs : sequence of str, optional
            Names of those wanted; by default all.

        Returns
        -------
        dict of str to numpy.ndarray
            In the order asked for. Each array owns its memory and can be handed on by DLPack. Strings
            come as objects, types that NumPy lacks (BF16) as `Tensor`.

        Raises
        ------
        InvalidArgumentError
            A name, type or shape is not the model's, or an index is out of its table.
        ResourceExhaustedError
            The answer or the activations would be too large.
        """
        if not isinstance(inputs, Mapping):
            if self.takes_text and (isinstance(inputs, str) or _all_text(inputs)):
                inputs = {"text": inputs}
            elif len(self._inputs) == 1:
                inputs = {self._inputs[0].name: inputs}
            else:
                names = ", ".join(repr(each.name) for each in self._inputs)
                raise TypeError(f"inputs is a mapping by name for a model with several: {names}")
        return dict(self._native.run(dict(inputs), [] if outputs is None else list(outputs)))

    __call__ = run

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The inputs in the file's order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The outputs in the file's order."""
        return self._outputs

    @property
    def takes_text(self) -> bool:
        """Whether ``text`` is taken in place of token ids."""
        return self._native.takes_text()

    @property
    def batching(self) -> tuple[bool, str]:
        """Whether rows run apart, and the proof or the node that stands in the way."""
        return self._native.joined(), self._native.batching()

    @property
    def weights_bytes(self) -> int:
        """Bytes of packed weights and constants; equal weights of several models count in each."""
        return self._native.weights_bytes()

    @property
    def producer(self) -> str:
        """What wrote the file, such as ``"pytorch 2.9.1"``."""
        return self._native.producer()

    @property
    def opset(self) -> int:
        """The version of the ONNX operator set."""
        return self._native.opset()

    def explain(
        self,
        *,
        batch: int = 1,
        length: int = 32,
        dims: Mapping[str, int] | None = None,
        mean_length: float = 0,
    ) -> Report:
        """Say what the model was compiled to and predict what it costs on this machine.

        Parameters
        ----------
        batch : int
            Size of an open dimension 0.
        length : int
            Size of the other open dimensions.
        dims : mapping of str to int, optional
            Sizes of open dimensions by name.
        mean_length : float
            Mean length of your sequences: their spread up to `length` in packed rows, or what padding them
            costs. 0: all have `length`.

        Returns
        -------
        Report
        """
        return Report(self._native.tell(batch, length, dict(dims or {}), float(mean_length), 0))

    def profile(
        self,
        *,
        batch: int = 1,
        length: int = 32,
        dims: Mapping[str, int] | None = None,
        mean_length: float = 0,
        runs: int = 15,
    ) -> Report:
        """Run the model on one thread, on synthetic inputs, and measure each step.

        Parameters are those of `explain`, and `runs`: times are medians over so many.

        Raises
        ------
        UnimplementedError
            The model's shapes depend on its data: it has no steps.
        """
        if runs < 1:
            raise ValueError(f"runs is {runs}, expected at least 1")
        return Report(self._native.tell(batch, length, dict(dims or {}), float(mean_length), runs))


def _all_text(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, str) for each in value)
