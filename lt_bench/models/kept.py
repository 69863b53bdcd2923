"""An encoder and its classifier in one file, with what builds both again without the code that trained them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lt_bench.errors import DataError, one_line
from lt_bench.files import open_regular, write_atomic
from lt_bench.models.finetuned import FineTuned
from lt_bench.models.pruned import PrunedEncoder

FORMAT, ABOUT = 1, "lt_bench"  # the key of the file's metadata that is ours
PARTS = ("encoder", "classifier")


class NotKept(ValueError):
    """A network that nothing builds again; the message says which."""


class Kept(NamedTuple):
    """What a file holds: the networks, and ``about``, plain values that whoever wrote it gave."""

    encoder: nn.Module
    classifier: nn.Module
    about: dict[str, Any]


def node_of(module: nn.Module, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What builds a module of these shapes: a ``_target_`` and plain parameters, modules as nodes of their own.

    A module says it by a method ``settings``; one that has none is the network that ``own`` builds. Raises NotKept
    where that is another one, or there is none.
    """
    if type(module) is nn.Linear:
        bias = module.bias is not None
        node = _linear(module.in_features, module.out_features, bias)
    elif callable(settings := getattr(module, "settings", None)):
        given: dict[str, Any] = settings()
        node = {name: node_of(one, own) if isinstance(one, nn.Module) else one for name, one in given.items()}
    elif own is not None:
        node = {**own}
    else:
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        raise NotKept(f"{kind} has no method settings(), which returns _target_ and the parameters that build it again")
    return node


def _linear(in_features: int, out_features: int, bias: bool) -> dict[str, Any]:
    return {
        "_target_": "lt_bench.models.heads.linear",
        "in_features": in_features,
        "out_features": out_features,
        "bias": bias,
    }


def rebuilt(node: Mapping[str, Any], load: Callable[[str], Any]) -> nn.Module:
    """The module that a node builds; ``load`` gives the class or function of a ``_target_``."""
    inside = {
        name: rebuilt(one, load) if isinstance(one, Mapping) else one
        for name, one in node.items()
        if name != "_target_"
    }
    module: nn.Module = load(node["_target_"])(**inside)
    return module


def keep(
    path: Path,
    encoder: nn.Module,
    classifier: nn.Module,
    own: Mapping[str, Any],
    load: Callable[[str], Any],
    about: Mapping[str, Any],
) -> None:
    """Write both networks in one piece; ``own`` builds the backbone, ``about`` are further plain values.

    Raises NotKept, before anything is written, where what would be built again has other tensors.
    """
    networks = {
        "encoder": encoder.merged() if isinstance(encoder, (PrunedEncoder, FineTuned)) else encoder,
        "classifier": classifier,
    }
    nodes = {"encoder": node_of(networks["encoder"], own), "classifier": node_of(classifier)}
    state = dict[str, Tensor]()
    for part, network in networks.items():
        with torch.device("meta"):
            again = rebuilt(nodes[part], load)
        if _shapes(again) != _shapes(network):
            raise NotKept(f"{type(network).__name__} is not what {nodes[part]['_target_']} builds again")
        state |= {f"{part}.{name}": tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    # tensors that share memory would be refused
    state = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    words = json.dumps({"format": FORMAT, **nodes, **about}, allow_nan=False)
    write_atomic(path, save(state, {ABOUT: words}))


def about_file(path: Path) -> dict[str, Any]:
    """The plain values in the head of a file that ``keep`` wrote; DataError where it is none, or of a newer version."""
    try:
        open_regular(path).close()  # refuses pipes and devices
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
        newest = about["format"] <= FORMAT and all(isinstance(about[part], dict) for part in PARTS)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no predictor of lt_bench ({type(error).__name__}: {error})") from error
    if not newest:
        raise DataError(f"{path} was written by a newer version of lt_bench; install that one")
    return dict(about)


def read(path: Path, load: Callable[[str], Any]) -> Kept:
    """The networks of a file on the CPU, in eval mode; what builds them must have been checked, see ``about_file``.

    Raises DataError where the tensors do not fit, OSError where the file cannot be read. What a network would need is
    known before memory is taken for it.
    """
    about = about_file(path)
    networks = list[nn.Module]()
    with torch.random.fork_rng(devices=[]), safe_open(path, "pt") as file:
        names = list(file.keys())
        for part in PARTS:
            state = {
                name.removeprefix(f"{part}."): file.get_tensor(name) for name in names if name.startswith(f"{part}.")
            }
            try:
                with torch.device("meta"):
                    rebuilt(about[part], load).load_state_dict(state, assign=True)
                network = rebuilt(about[part], load)
                network.load_state_dict(state)
            except Exception as error:  # what a network raises for parameters that it cannot take is not listed
                raise DataError(f"{path} does not fit the network that it names ({one_line(error)})") from error
            # as in training, so that the same kernels compute the same bits
            networks.append(network.to(memory_format=torch.channels_last).eval())
    return Kept(networks[0], networks[1], about)


def _shapes(network: nn.Module) -> dict[str, tuple[Any, ...]]:
    return {name: (*tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
