"""Optimisers of a config: a name stands for a file of conf/optimizer, a ``_target_`` for a class and its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lt_bench.config.conf import names_in, values_of
from lt_bench.config.settings import Setting

SGD, ADAM = "torch.optim.SGD", "torch.optim.Adam"
NODES = ("train.optimizer", "stage_two.train.optimizer")
CHOOSING = tuple(f"{node}.{key}" for node in NODES for key in ("name", "_target_"))

# Parameters of constructors that are the engine's: what is trained, its rate, and the form of the computation.
SUPPLIED = frozenset({"params", "lr", "foreach", "fused", "capturable", "differentiable", "maximize"})

# What parameters of these names are in every class of torch.optim.
RANGES = {
    "momentum": Setting("", least=0, most=1),
    "weight_decay": Setting("", least=0),
    "betas": Setting("", least=0, most=1),
    "eps": Setting("", least=0),
}

# Classes of torch.optim that cannot train here, and why.
_UNSUITABLE = {
    "LBFGS": "evaluates the loss several times a step",
    "SparseAdam": "takes sparse gradients alone",
    "Muon": "takes matrices alone, and every network here has other parameters too",
}

# SGD and Adam are known to identities by these words and defaults; Adam's momentum is its first beta.
_WORDS = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0, "nesterov": False}
_SECOND_BETA = 0.999


def unsuitable(target: Any) -> str | None:
    """Why a class of torch.optim cannot train here; None for one that can, and for other classes."""
    return _UNSUITABLE.get(target.rpartition(".")[2]) if str(target).startswith("torch.optim.") else None


def range_of(key: str) -> Setting | None:
    """The range of a parameter of an optimiser by its dotted key; None for one that nothing is known of."""
    node, _, name = key.rpartition(".")
    return RANGES.get(name) if node in NODES else None


def names() -> tuple[str, ...]:
    """The names that stand for a file, sorted."""
    return tuple(names_in("optimizer"))


def of_name(name: Any) -> dict[str, Any]:
    """The class and the values in the file of a name; empty for a name that has none."""
    if name not in names():
        return {}
    return values_of(f"optimizer/{name}")


def resolved(node: Mapping[str, Any]) -> dict[str, Any]:
    """What a node means: ``_target_`` and the values of its class; the same again for what is resolved.

    A name stands for the values of its file, under those beside it; a node with neither name nor class is SGD. Beside
    ``name: adam`` a momentum is the first beta, and ``nesterov: false`` says nothing.
    """
    own = dict(node)
    name = own.pop("name", None if "_target_" in own else "sgd")
    values = {**of_name(name), **own}
    if name == "adam":
        momentum = values.pop("momentum", None)
        if momentum is not None and "betas" not in own:  # else it is left over from SGD
            values["betas"] = [momentum, _SECOND_BETA]
        if values.get("nesterov") is False:
            del values["nesterov"]
    return values


def after_choice(node: Mapping[str, Any], by: str, choice: Any) -> dict[str, Any]:
    """A node after a choice on the command line ``by`` "group", "name" or "_target_".

    The class that the node has keeps its values; another class takes over none of them and starts from those of its
    file, or from its constructor's. ``name=sgd`` and ``name=adam`` keep momentum and weight decay of one another.
    """
    chosen = {"_target_": choice} if by == "_target_" else of_name(choice)
    before = resolved(node).get("_target_")
    if chosen and chosen["_target_"] == before:
        return dict(node)
    shared = by == "name" and choice in ("sgd", "adam") and before in (SGD, ADAM)
    if shared or not chosen:
        words = in_identity(resolved(node))[0] if shared else node
        kept = {key: value for key, value in words.items() if not shared or key in _WORDS}
        return {**{key: value for key, value in kept.items() if key != "_target_"}, "name": choice}
    return chosen


def in_identity(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a resolved node as identities have them, and the defaults that are left out of identities.

    SGD and Adam by the words that runs on disk have, other classes as they are.
    """
    target = values.get("_target_")
    words = {key: value for key, value in values.items() if key != "_target_"}
    if target == SGD:
        return {"momentum": 0.0, **words}, _WORDS
    if target == ADAM:
        betas = words.get("betas", [0.9, _SECOND_BETA])
        if betas[1] == _SECOND_BETA:
            words = {key: value for key, value in words.items() if key != "betas"} | {"momentum": betas[0]}
        return {**words, "name": "adam"}, _WORDS
    return dict(values), {}
