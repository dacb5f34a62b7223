"""Large matrix products by oneDNN instead of MKL in compiled code, where that is faster.

PyTorch multiplies float32 matrices by MKL, which uses AVX2 on processors that are not Intel's.
oneDNN, which PyTorch contains as well, uses AVX-512 there: on an AMD EPYC (Zen 5) it multiplies
[24, 784] by [784, 200] in 53 instead of 83 microseconds and [100, 784] by [784, 200] in 155 instead
of 309. A call costs 15 microseconds more than one of MKL, so that small products stay there. Zen 4
executes AVX-512 in two halves and gains nothing: 105 instead of 89 microseconds, and 320 instead
of 325.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

LARGE = 6_000_000  # floating-point operations from which oneDNN pays
ZEN_5 = 26  # AMD's number of the family; 25 is Zen 3 and 4

LIBRARY = torch.library.Library("relax_experiments", "DEF")
LIBRARY.define("bmm(Tensor a, Tensor b) -> Tensor")


@cache
def is_faster() -> bool:
    """Whether oneDNN uses instructions here that MKL does not."""
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    family = re.search(r"^cpu family\s*: (\d+)", text, re.MULTILINE)
    wide = "AuthenticAMD" in text and family is not None and int(family[1]) >= ZEN_5
    avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and avx512 and torch.backends.mkldnn.is_available()


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """a [R, n, k] times b [R, k, m], without gradients."""
    linear = torch.ops.mkldnn._linear_pointwise.default  # x W^T, for one replica
    products = [
        linear(one, other.T, None, "none", [], "")
        for one, other in zip(a.unbind(), b.unbind(), strict=True)
    ]
    return products[0][None] if len(products) == 1 else torch.stack(products)


LIBRARY.impl("bmm", bmm, "CPU")


@torch.library.register_fake("relax_experiments::bmm")
def _shape(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(len(a), a.shape[1], b.shape[2])


class UseOneDnn(CustomGraphPass):
    """Replaces the large products of a graph that torch.compile has made."""

    def __call__(self, graph: fx.Graph) -> None:
        aten = torch.ops.aten
        for node in list(graph.nodes):
            if node.target not in (aten.bmm.default, aten.baddbmm.default) or node.kwargs:
                continue
            *bias, a, b = node.args
            if not large(a.meta["val"], b.meta["val"]):
                continue
            with graph.inserting_before(node):
                new = graph.call_function(torch.ops.relax_experiments.bmm.default, (a, b))
                new.meta.update(node.meta)
                if bias:
                    new = graph.call_function(aten.add.Tensor, (new, *bias))
                    new.meta.update(node.meta)
            node.replace_all_uses_with(new)
            graph.erase_node(node)

    def uuid(self) -> bytes:
        """The key of torch's cache of compiled code."""
        return get_hash_for_files((__file__,))


def large(a: Tensor, b: Tensor) -> bool:
    """Whether this is a large product of float32 matrices of fixed size on the CPU."""
    sizes = (a.shape[1], a.shape[2], b.shape[2])
    if a.device.type != "cpu" or a.dtype != torch.float32 or a.ndim != 3:
        return False
    if not all(isinstance(size, int) for size in sizes):
        return False
    rows, inner, columns = sizes
    return 2 * rows * inner * columns >= LARGE
