"""Which parameters have a rate or a weight decay of their own."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from lt_bench.config.schema import Training
from lt_bench.contracts import Method, ParameterGroup
from lt_bench.models.timm_layers import below_head, undecayed


def parameter_groups(method: Method, training: Training) -> list[ParameterGroup]:
    """The groups of a method, divided by what the settings of a stage say of its parameters.

    Bias and norm are the parameters of at most one dimension, and tokens that timm names beside them; the head is all
    that is not ``encoder``. Groups stand in the order of their first parameter.
    Source of the rates by depth: Bao et al., ICLR 2022 (BEiT), appendix; the head has the full rate, the last block of
    the encoder ``layer_decay`` times it.  Deviation: a norm of timm's that shares the head's layer has the full rate.
    Raises ValueError for a method whose groups do not hold every trained parameter once.
    """
    groups = list(method.parameter_groups())
    _check(method, groups)
    if training.decay_bias_and_norm and training.layer_decay is None and training.head_lr_factor == 1:
        return groups
    of_encoder = _encoder_factors(method.encoder, 1.0 if training.layer_decay is None else training.layer_decay)
    tokens = undecayed(method.encoder)
    divided: dict[tuple[str, float, float | None], list[nn.Parameter]] = {}
    for group in groups:
        for parameter in group.parameters:
            factor = of_encoder.get(id(parameter), training.head_lr_factor)
            decays = training.decay_bias_and_norm or parameter.ndim > 1 and id(parameter) not in tokens
            key = (group.name, group.lr_factor * factor, group.weight_decay if decays else 0.0)
            divided.setdefault(key, []).append(parameter)
    return [ParameterGroup(name, own, factor, decay) for (name, factor, decay), own in divided.items()]


def blocks(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of an encoder's blocks, such as residual ones, in the order in which it names them.

    Blocks are the modules that containers in a row (``nn.Sequential``, ``nn.ModuleList``) and the encoder, behind its
    wrappers, are made of. Those with parameters of one dimension alone, such as norms, belong to the block before;
    parameters of the encoder that stand in no module come first.
    """
    children = _with_parameters(encoder)
    loose = list(encoder.parameters(recurse=False))
    if len(children) == 1 and not loose:
        return blocks(children[0])
    found = [loose] if loose else []
    for part in _parts(encoder):
        own = list(part.parameters())
        if found and all(parameter.ndim <= 1 for parameter in own):
            found[-1] += own
        else:
            found.append(own)
    return found


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for child in _with_parameters(module):
        yield from _parts(child) if isinstance(child, (nn.Sequential, nn.ModuleList)) else (child,)


def _with_parameters(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if any(True for _ in child.parameters())]


def _encoder_factors(encoder: nn.Module, decay: float) -> dict[int, float]:
    """The factor on the rate of every parameter of an encoder, by its identity; of timm's by timm's own layers."""
    of_timm = below_head(encoder)
    if of_timm is not None:
        return {id(one): decay ** of_timm.get(id(one), 1) for one in encoder.parameters()}
    found = blocks(encoder)
    return {id(one): decay ** (len(found) - depth) for depth, own in enumerate(found) for one in own}


def _check(method: Method, groups: list[ParameterGroup]) -> None:
    trained = {id(one): name for name, one in method.named_parameters() if one.requires_grad}
    held = [id(one) for group in groups for one in group.parameters]
    if sorted(held) != sorted(trained):
        missing = [name for key, name in trained.items() if key not in held]
        what = "one is held twice" if set(held) <= trained.keys() else "one that is not trained is held"
        what = f"{missing[0]} is missing" if missing else what
        raise ValueError(f"parameter_groups of {type(method).__name__} hold every trained parameter once, but {what}")
