"""Logarithms of modified Bessel functions of the first kind I_nu, as von Mises-Fisher densities need them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Debye polynomials U_1 .. U_4 of Olver's uniform expansion: a denominator, the numerator of every power of t, and the
# largest value for t between 0 and 1
_DEBYE: tuple[tuple[int, dict[int, int], float], ...] = (
    (24, {1: 3, 3: -5}, 0.084),
    (1152, {2: 81, 4: -462, 6: 385}, 0.033),
    (414720, {3: 30375, 5: -369603, 7: 765765, 9: -425425}, 0.017),
    (39813120, {4: 4465125, 6: -94121676, 8: 349922430, 10: -446185740, 12: 185910725}, 0.021),
)
_LOWEST_ORDER = 15.0  # from here on the expansion is right to 3e-8


def log_bessel_change(squared: Tensor, change: Tensor, order: float) -> Tensor:
    """g(sqrt(squared + change)) - g(sqrt(squared)), where g(x) = log I_order(x) - order * log x.

    The derivative of g in x is I_(order+1)(x) / I_order(x). Both sides are functions of x^2, so x = 0 is no exception.
    Shapes: squared and change broadcast against each other; returns their common shape, in their dtype.
    Source: Olver 1974 (DLMF 10.41.3), as a difference, so that nothing large cancels. Orders below 15 are
    reached from above by I_(k-1) = I_(k+1) + 2 k / x I_k, in double precision.
    Accuracy, against 40 digits, for orders from -1/2 to 1023 and x up to 1e6: in double precision 3e-8, and 1e-7 of
    the derivative; in single precision 4e-7 of the larger of the result and 1, and of the derivative.  Deviation: none.
    """
    if order >= _LOWEST_ORDER:
        return _expansion_change(squared, change, order)
    steps = math.ceil(_LOWEST_ORDER - order)
    start, wide = squared.double(), change.double()
    result = _expansion_change(start, wide, order + steps)
    result = result + _descent(start + wide, order + steps, steps) - _descent(start, order + steps, steps)
    return result.to(torch.promote_types(squared.dtype, change.dtype))


def official_log_bessel(x: Tensor, order: int) -> Tensor:
    """log I_order(x) - order * log x by the recurrence of ProCo's authors, which is wrong for x far above the order.

    It runs downwards from I_(2 order) = 1 and I_(2 order + 1) = 0 to I_0, which is known. The logarithm has the
    precision of ``x``, and the derivative I_(order+1) / I_order is cut off at 1.
    Shapes: any; returns the shape of x, float64.
    Source: Du et al., TPAMI 2024, authors' code.  Deviation: ratios of neighbours are recurred, which cannot overflow.
    """
    value, ratio = _official_recurrence(x.detach(), order)
    return value + ratio.clamp(max=1) * (x - x.detach())


def _expansion_change(squared: Tensor, change: Tensor, order: float) -> Tensor:
    """``log_bessel_change`` by the expansion alone."""
    base = order**2 + squared
    start, end = base.sqrt(), (base + change).sqrt()
    step = change / (start + end)
    before, after = 1 + _series(order / start, order), 1 + _series(order / end, order)
    factor = after / before * (start / end).sqrt()
    return step - order * _log1p(step / (order + start)) + factor.log()


def _log1p(x: Tensor) -> Tensor:
    """log(1 + x) in full precision; ``torch.log1p`` is not vectorised on the CPU and takes ten times as long as log."""
    rounded = 1 + x
    with torch.no_grad():
        lost = (x - (rounded - 1)) / rounded
    return rounded.log() + lost


def _series(t: Tensor, order: float) -> Tensor:
    """U_1(t) / order + ... + U_4(t) / order^4 by Horner's rule, without what is below the precision of ``t``."""
    precision = torch.finfo(t.dtype).eps
    coefficients: dict[int, float] = {}
    for number, (denominator, numerators, largest) in enumerate(_DEBYE, start=1):
        if largest / order**number > precision:
            for power, numerator in numerators.items():
                coefficients[power] = coefficients.get(power, 0.0) + numerator / (denominator * order**number)
    result = torch.zeros_like(t)
    for power in range(max(coefficients, default=0), 0, -1):
        result = (result + coefficients.get(power, 0.0)) * t
    return result


def _descent(squared: Tensor, top: float, steps: int) -> Tensor:
    """g at order top - steps, less g at order top: all terms are positive, so nothing cancels.

    With h_k = I_k(x) / x^k the recurrence reads h_(k-1) = 2 k h_k + x^2 h_(k+1).
    """
    zero = torch.zeros_like(squared)
    above = _expansion_change(zero, squared, top + 1) - _expansion_change(zero, squared, top)
    ratio = above.exp() / (2 * (top + 1))  # h_(k+1) / h_k for k = top, whose value at x = 0 is 1 / (2 (top + 1))
    product = torch.ones_like(squared)
    for step in range(steps):
        factor = 2 * (top - step) + squared * ratio
        product, ratio = product * factor, 1 / factor
    return product.log()


@torch.no_grad()
def _official_recurrence(x: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Value of ``official_log_bessel``, and I_(order+1) / I_order."""
    wide = x.double()
    ratio = torch.zeros_like(wide)  # I_(k+1) / I_k, from k = 2 order downwards
    for k in range(2 * order, order, -1):
        ratio = 1 / (2 * k / wide + ratio)
    slope = ratio
    value = torch.special.i0e(wide).log() + wide - order * x.log().double()
    for k in range(order, 0, -1):
        ratio = 1 / (2 * k / wide + ratio)
        value = value + ratio.log()
    return value, slope
