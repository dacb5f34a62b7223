"""torch.compile and CUDA graphs for a training step: two settings, the same step.

The compiled or captured function must be a function of tensors of constant shapes: random numbers
are drawn before it is called, and it reads nothing back from the device.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from time import perf_counter
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from experiments.run.errors import UserError, check, known

GRAPH = COMPILE = ("auto", "on", "off")
TRACES_GRADIENTS = "2.12"  # the first torch that compiles a step which takes its own gradients


def compiles(mode: str, steps: int, worthwhile: int) -> bool:
    """Whether to use torch.compile: `auto` does where the run is long enough and it can.

    It needs a C++ compiler and torch 2.12.

    Args:
        mode: auto, on or off.
        steps: of the run.
        worthwhile: the number of steps from which compiling saves time.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    possible = traces_gradients() and compiler is not None
    return mode == "on" or (mode == "auto" and steps >= worthwhile and possible)


def traces_gradients() -> bool:
    """Whether this torch compiles a step that takes its own gradients."""
    return torch.__version__ >= TRACES_GRADIENTS


def compiled(function: Callable, varying: int | None = None, tiny: bool = False) -> Callable:
    """torch.compile of a function or bound method for one run; it may take gradients itself.

    Args:
        function: of tensors, or of lists and tuples of tensors.
        varying: an axis of every tensor that has it, whose length changes from call to call.
        tiny: most tensors have a few numbers, so that allocating them takes longer than computing
            them; those inside the function are put on the stack.

    torch caches compiled code per code object and checks guards on everything that the function
    refers to before every call, which would cost half a millisecond. Therefore every run gets a
    code object of its own, and only the guards on tensors are kept.
    """
    check(
        traces_gradients(),
        f"compile=on needs torch {TRACES_GRADIENTS} or newer, and this is {torch.__version__}; "
        "upgrade it, or use compile=off",
    )
    from experiments.run import onednn  # imports the compiler, which takes half a second

    plain = getattr(function, "__func__", function)
    code, closure = plain.__code__.replace(), plain.__closure__
    own = FunctionType(code, plain.__globals__, plain.__name__, plain.__defaults__, closure)
    if isinstance(function, MethodType):
        own = MethodType(own, function.__self__)
    options: dict[str, Any] = {
        "guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe,
        "cpp.use_decompose_tanh": True,  # computed from exp, which is much faster on a CPU
    }
    if tiny:
        options |= {"cpp_wrapper": True, "aot_inductor.allow_stack_allocation": True}
    if onednn.is_faster():
        options["post_grad_custom_post_pass"] = onednn.UseOneDnn()
    torch._dynamo.config.trace_autograd_ops = True  # forward and backward become one graph
    dynamic = None if varying is not None else False
    fast = torch.compile(own, fullgraph=True, dynamic=dynamic, options=options)
    return partial(_call, fast, varying)


def _call(fast: Callable, varying: int | None, *arguments: Any) -> Any:
    """Call the compiled function; a compiler error becomes one line with cause and fix."""
    if varying is not None:
        for tensor in tensors(arguments):
            if tensor.ndim > varying:
                torch._dynamo.mark_dynamic(tensor, varying)
    try:
        return fast(*arguments)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        reason = str(error.inner_exception).splitlines()[0]
        raise UserError(
            f"torch.compile does not work on this machine ({reason}); install a C++ compiler (g++, "
            "or name another in CXX), or use compile=off"
        ) from error


def graphed(step: Callable, mode: str, place: torch.device) -> Callable:
    """The step as a CUDA graph: `auto` uses one on a GPU, `off` returns the step unchanged."""
    known(mode, GRAPH, "graph")
    on_gpu = place.type == "cuda"
    check(on_gpu or mode != "on", "graph=on: CUDA graphs need a GPU; use graph=auto or off")
    return Graphed(step) if on_gpu and mode != "off" else step


class Graphed:
    """A step captured as a CUDA graph and replayed: one launch instead of hundreds.

    step(*inputs) gets tensors, or lists and tuples of them, and changes parameters, optimisers and
    other tensors in place. The first calls run eagerly on a side stream, so that every buffer
    exists; they are ordinary steps. Capturing executes nothing. Later calls copy their inputs into
    the tensors that the graph reads, and replay it.

    The learning rates at the time of the capture are part of the graph.
    """

    FIRST = 3

    def __init__(self, step: Callable) -> None:
        self.step, self.calls = step, 0
        self.stream = torch.cuda.Stream() if torch.cuda.is_available() else None

    def __call__(self, *inputs: Any) -> Any:
        self.calls += 1
        if self.calls <= self.FIRST:
            return self.beside(inputs)
        if self.calls == self.FIRST + 1:
            self.inputs = deepcopy(inputs)
            self.replay = self.record()
        for own, given in zip(tensors(self.inputs), tensors(inputs), strict=True):
            own.copy_(given)
        self.replay()
        return self.outputs

    def beside(self, inputs: tuple) -> Any:
        """Run the step eagerly on the stream that will capture it."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            outputs = self.step(*inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        return outputs

    def record(self) -> Callable[[], None]:
        """Capture one step on this object's own inputs, without executing it."""
        graph = torch.cuda.CUDAGraph()
        with no_garbage_collection(), torch.cuda.graph(graph, stream=self.stream):
            self.outputs = self.step(*self.inputs)
        return graph.replay


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage now and not in the block: freeing an older graph invalidates a capture."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested lists and tuples; None and numbers are skipped."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for branch in tree:
            yield from tensors(branch)


def seconds_per_call(step: Callable, arguments: Iterable[Any]) -> list[float]:
    """The seconds of step(argument) for each argument, GPU work included."""
    times = []
    for argument in arguments:
        start = perf_counter()
        step(argument)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(perf_counter() - start)
    return times
