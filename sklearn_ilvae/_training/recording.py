"""Calls on a GPU whose kernels are recorded once, and then launched together.

A step of training a network for tables is some hundreds of kernels, each of which runs
for less time than a processor takes to launch it. A CUDA graph launches all at once.
"""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

UNRECORDED_CALLS = 3
"""Calls before a recording: they set up what must not be part of it.

That is libraries at work for the first time, and the state of the optimiser.
"""


class Recorder:
    """Call functions of tensors; record those that are called repeatedly.

    There is one CUDA graph for each function and combination of shapes. What it returns
    is overwritten by the next call.

    Parameters
    ----------
    generator : torch.Generator
        Source of the functions' random numbers, on a GPU: fresh ones every call.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.recordings: dict[tuple[object, ...], _Recording] = {}
        self.n_calls: Counter[tuple[object, ...]] = Counter()
        with torch.cuda.device(generator.device):
            self.stream = torch.cuda.Stream()

    def call(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Return what a function returns.

        Parameters
        ----------
        function : callable
            Takes the inputs and returns a tensor. It must run the same kernels on the
            same other tensors at every call, and read no values back. Functions are
            told apart by their names.
        *inputs : Tensor
            Tensors on the GPU.

        Returns
        -------
        Tensor
        """
        key = (function.__name__, *(each.shape for each in inputs))
        with torch.cuda.device(self.generator.device):
            if key in self.recordings:
                return self.recordings[key].replay(*inputs)
            if self.n_calls[key] < UNRECORDED_CALLS:
                self.n_calls[key] += 1
                return self._call_aside(function, *inputs)
            self.recordings[key] = _Recording(function, self.generator, *inputs)
            return self.recordings[key].replay(*inputs)

    def _call_aside(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Call away from the default stream, as the recording will."""
        present = torch.cuda.current_stream()
        self.stream.wait_stream(present)
        with torch.cuda.stream(self.stream):
            output = function(*inputs)
        present.wait_stream(self.stream)
        return output


class _Recording:
    """The kernels of one call, and the tensors that they read and write."""

    def __init__(
        self,
        function: Callable[..., Tensor],
        generator: torch.Generator,
        *inputs: Tensor,
    ) -> None:
        self.inputs = [each.clone() for each in inputs]
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(generator)
        # Other threads may allocate memory meanwhile.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.output = function(*self.inputs)

    def replay(self, *inputs: Tensor) -> Tensor:
        for ours, given in zip(self.inputs, inputs, strict=True):
            ours.copy_(given)
        self.graph.replay()
        return self.output
