"""Weights of an encoder from a file or from torchvision, and convolutions that stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.files import check_archive

SHOWN = 5  # names in a message
COUNTER = ".num_batches_tracked"


def load_pretrained(encoder: nn.Module, source: str, name: str) -> None:
    """Load weights into an encoder, in place: ``torchvision`` for the network of that name, else a file.

    A file is a state dictionary as ``.safetensors`` or saved by PyTorch, alone or under ``state_dict`` or ``model``;
    ``module.`` before its names is ignored, and so is a linear layer ``fc``; of a whole method, such as a checkpoint
    of a run, what is under ``encoder.`` counts. Raises SettingError that says what does not fit, OSError for a file
    that cannot be read or fetched.
    """
    state = _torchvisions(name) if source == "torchvision" else _read(Path(source).expanduser())
    state = encoder_state(state)
    # counters of batch norms, which older files lack, are filled in by load_state_dict
    wanted = {key: value for key, value in encoder.state_dict().items() if not key.endswith(COUNTER) or key in state}
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state and state[key].shape != tensor.shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - state.keys()),
        "not in the encoder": sorted(state.keys() - wanted.keys()),
        "of another shape": shapes,
    }
    wrong = [f"{len(names)} {what}: {_some(names)}" for what, names in problems.items() if names]
    if wrong:
        raise SettingError("pretrained", f"weights that fit {name} ({'; '.join(wrong)})", source, "FILE")
    encoder.load_state_dict(state)


def encoder_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The encoder's part of a state dictionary under its own names; see ``load_pretrained``."""
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
    plain = {key.removeprefix("module."): value for key, value in state.items() if isinstance(value, Tensor)}
    if any(key.startswith("encoder.") for key in plain):
        plain = {key.removeprefix("encoder."): v for key, v in plain.items() if key.startswith("encoder.")}
    return {key: value for key, value in plain.items() if not key.startswith("fc.")}


def freeze_convolutions(encoder: nn.Module, trainable: Sequence[str]) -> None:
    """Keep the weights of all convolutions, except below the named modules, in place; batch norms stay trainable.

    Raises SettingError for a name that no convolution is below.
    Source: PaCo's recipe for Places-LT, where those of ``layer4.2`` are trained.
    """
    convolutions = {key: part for key, part in encoder.named_modules() if isinstance(part, nn.Conv2d)}
    for prefix in trainable:
        if not any(_below(key, prefix) for key in convolutions):
            above = _some(sorted({key.rpartition(".")[0] or key for key in convolutions}), 20)
            raise SettingError("trainable_convolutions", f"a list of modules with convolutions ({above})", prefix)
    for key, convolution in convolutions.items():
        convolution.requires_grad_(any(_below(key, prefix) for prefix in trainable))


def _below(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith(f"{prefix}.")


def _torchvisions(name: str) -> dict[str, Any]:
    """The first published weights, which those who use pretrained networks on long tails mean."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        state: dict[str, Any] = weights.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
    except OSError as error:
        raise OSError(f"{weights.url} cannot be fetched ({error}); set pretrained=FILE to a copy") from error
    return state


def _read(path: Path) -> dict[str, Any]:
    try:
        check_archive(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"no dictionary, but {type(state).__name__}")
        return state
    except OSError:
        raise
    except Exception as error:  # what PyTorch raises for a damaged file or one with code in it is not listed anywhere
        said = str(error).splitlines()[0]
        raise SettingError("pretrained", f"a file of weights ({said})", str(path), "FILE") from error


def _some(names: Iterable[str], most: int = SHOWN) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
