"""f as an estimator sees it: a function or the value f(b), checked, given tensors of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from relax.distributions import Draw

CHUNK = 2**25  # numbers of b in one call of f
NEEDS_GRADIENT = (
    "differentiates f, also at relaxed inputs between the outcomes of b (use reinforce, or relax "
    "with a surrogate of z, for an f that cannot be)"
)


class Function:
    """The f of one estimate.

    Called at the draw's b or at other points of its form, it returns a constant in the precision of
    z. f(b) is evaluated once and kept as `value`, attached to f's own weights, for the estimate to
    report; an estimator that never evaluates f at b reports its first evaluation. f gets a copy of
    every input, so that whatever it does in place changes nothing else.

    Args:
        name: of the estimator, for messages.
        f: b [(K,) *batch, *event] -> [(K,) *batch], or the tensor f(b) itself.
        draw: the draw that b comes from.
    """

    def __init__(self, name: str, f: Any, draw: Draw) -> None:
        self.name, self.draw = name, draw
        self.value: Tensor | None = None
        self._f_b: Tensor | None = None  # the constant f(b)
        self._function: Callable[[Tensor], Any] | None = f if callable(f) else None
        if self._function is None:
            value = self._checked(f, draw.b)
            self._keep(value, draw.b, self._constant(value))

    @property
    def function(self) -> Callable[[Tensor], Any]:
        """f as a function.

        Raises:
            TypeError: only the value f(b) was given.
        """
        if self._function is None:
            raise TypeError(
                f"{self.name} evaluates f at other points than b: it needs f as a function, and "
                f"got the value f(b)"
            )
        return self._function

    def __call__(self, b: Tensor) -> Tensor:
        """f(b) as a constant."""
        if self._f_b is not None and b is self.draw.b:
            return self._f_b
        value = self._checked(self.function(self._own(b)), b)
        constant = self._constant(value)
        self._keep(value, b, constant)
        return constant

    def flips(self) -> Tensor | None:
        """f.flips(b), f with each bit of b flipped in turn, where f offers it.

        Raises:
            TypeError: b is not made of bits.
            ValueError: the result does not have b's shape, or holds a NaN.
        """
        function, b = getattr(self.function, "flips", None), self.draw.b
        if function is None:
            return None
        self.draw.dist.require(f"{self.name} with f.flips", "bits", "leave f.flips out")
        flips = function(b.clone())
        if not isinstance(flips, Tensor) or flips.shape != b.shape:
            raise ValueError(f"{self.name}: f.flips(b) must have b's shape, {list(b.shape)}")
        if self.draw.dist.validate and bool(flips.isnan().any()):
            raise ValueError(f"{self.name}: f.flips(b) is NaN for {int(flips.isnan().sum())} bits")
        return flips.detach()

    def value_and_grad(
        self,
        x: Tensor,
        f: Callable[[Tensor], Any] | None = None,
        through: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """f(x) and df/dx at the point x, constants like x.

        Args:
            x: of b's form.
            f: a function to use instead of f.
            through: applied to x before f: then d/dx f(through(x)).

        Raises:
            TypeError: f refuses its input or carries no gradient there.
        """
        f = f or self.function
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            seen = leaf if through is None else through(leaf)
            try:
                f_x = self._checked(f(self._own(seen)), x)
            except RuntimeError as error:
                message = f"{self.name} {NEEDS_GRADIENT}; f failed there: {error}"
                raise TypeError(message) from error
            if not f_x.requires_grad:
                raise TypeError(f"{self.name} {NEEDS_GRADIENT}; f carried no gradient there")
            (df,) = torch.autograd.grad(f_x.sum(), leaf, retain_graph=True, allow_unused=True)
            if df is None:
                raise TypeError(
                    f"{self.name} {NEEDS_GRADIENT}; f's value is not connected to b by autograd"
                )
        constant = self._constant(f_x)
        self._keep(f_x, x, constant)
        return constant, df if df.dtype == constant.dtype else df.to(constant.dtype)

    def coordinatewise(self, other: Tensor) -> Tensor:
        """f(b with b_d = other_d) for every coordinate d, a constant that broadcasts against b."""
        b, rows, classes = self.draw.b, len(self.draw.value_shape), self.draw.dist.coordinate_ndim
        sites = b.shape[rows : b.ndim - classes]
        one_site = torch.eye(sites.numel(), device=other.device) > 0
        one_site = one_site.reshape(-1, *(1,) * rows, *sites, *(1,) * classes)
        with torch.no_grad():
            values = [
                self._evaluate_each(torch.where(mask, other, b))
                for mask in one_site.split(max(1, CHUNK // max(1, other.numel())))
            ]
        f_other = torch.cat(values).movedim(0, -1)
        return f_other.reshape(*f_other.shape[:-1], *sites, *(1,) * classes)

    def _evaluate_each(self, outcomes: Tensor) -> Tensor:
        """f of several versions of b, [S, (K,) *batch, *event] -> [S, (K,) *batch], in one call."""
        merged = outcomes.flatten(0, 1) if self.draw.sampled else outcomes
        value = self._constant(self._checked(self.function(self._own(merged)), merged))
        return value.unflatten(0, outcomes.shape[:2]) if self.draw.sampled else value

    def _keep(self, value: Tensor, x: Tensor, constant: Tensor) -> None:
        at_b = x is self.draw.b
        if self.value is None or (at_b and self._f_b is None):
            self.value, self._f_b = value, constant if at_b else None

    def _own(self, x: Tensor) -> Tensor:
        """A copy for f, in the dtype in which theta was given where b is discrete."""
        dist = self.draw.dist
        if x.dtype != dist.dtype and not dist.continuous:
            return x.to(dist.dtype)
        return x.clone()

    def _checked(self, value: Any, b: Tensor) -> Tensor:
        """value as a tensor of one number per row of b, none of them NaN."""
        dist = self.draw.dist
        if not isinstance(value, Tensor):
            value = self._as_tensor(value, b)
        rows = b.shape[: b.ndim - dist.event_ndim]
        if value.shape != rows:
            raise ValueError(
                f"{self.name}: f(b) has shape {list(value.shape)} where b has {list(b.shape)}, "
                f"of which the last {dist.event_ndim} make the event: f must return one number per "
                f"row, {list(rows)}{_hint(value.shape, b.shape, len(rows))}"
            )
        if dist.validate and bool(value.isnan().any()):
            raise ValueError(f"{self.name}: f(b) is NaN for {int(value.isnan().sum())} rows")
        return value

    def _as_tensor(self, value: Any, b: Tensor) -> Tensor:
        try:
            return torch.as_tensor(value, dtype=self.draw.dist.theta.dtype, device=b.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"{self.name}: f must return a tensor or numbers, one per row, and returned "
                f"{'None' if value is None else type(value).__name__}"
            ) from error

    def _constant(self, x: Tensor) -> Tensor:
        """A copy in the precision of z: f may return the same buffer at every call."""
        return x.detach().to(self.draw.dist.theta.dtype, copy=True)


def _hint(value: torch.Size, b: torch.Size, batch_ndim: int) -> str:
    """How to correct the shape of f's value, where it can be recognised."""
    rows = b[:batch_ndim]
    if value == (*rows, 1):
        return " (remove a last axis of 1 by .squeeze(-1))"
    if value == b:
        return (
            " (sum over the event; or, if every coordinate is a row of its own, give the "
            "parameters a last axis of 1 by .unsqueeze(-1))"
        )
    axes = next((axes for axes in range(1, len(b) + 1) if b[: len(b) - axes] == value), 0)
    if axes and value.numel() != 1:
        return f" (if the last {axes} axes make the event, pass event_ndim={axes})"
    if value.numel() == 1:
        return " (a loss must not be reduced over the batch: reduction='none')"
    return ""
