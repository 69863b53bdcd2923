"""Weights of networks of timm: where they are fetched from, and other forms of them."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.prefixes import needed
from lt_bench.models.timm_encoder import full_name

SAFE = {  # files of weights, by those of pickles that stand beside them
    "pytorch_model.bin": "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


def fetched(network: nn.Module) -> Path:
    """The file of the published weights of timm's network: of a cache, or else fetched from where timm has them.

    Raises SettingError where nobody has published any, or they cannot be fetched.
    """
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    hub, url, name = config.get("hf_hub_id"), config.get("url"), full_name(config)
    if not hub and (not url or config.get("custom_load")):  # the latter: no tensors of PyTorch
        raise SettingError("pretrained", f"null or a file, as timm fetches no weights of {name}", "timm", "null")
    try:
        return _from_hub(hub, config.get("hf_hub_filename") or "pytorch_model.bin") if hub else _from_address(str(url))
    except OSError as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        rule = (
            f"null or a file, copied from a machine with a network, as the weights of {name} cannot be fetched from "
            f"{f'https://huggingface.co/{hub}' if hub else url} ({said})"
        )
        raise SettingError("pretrained", rule, "timm", "FILE") from error


def forms(network: nn.Module, state: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The tensors of a file as they are, and as timm converts them to the names and sizes of a network, less its head.

    Converted are weights of OpenAI, open_clip and older versions, and position embeddings of another size.
    """
    yield _less_classifier(network, state)
    convert: Any = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    for prefix in _prefixes(state, len(needed(network.state_dict())) // 2) if convert else ():
        part = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        made: Any = None
        with suppress(Exception):  # what is raised for tensors that are in no form which it knows is not listed
            made = convert(part, network)
        if isinstance(made, Mapping):
            yield _less_classifier(network, {key: one for key, one in made.items() if isinstance(one, Tensor)})


def _less_classifier(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    config: Any = network.pretrained_cfg
    named = config.get("classifier") or ()
    ends = tuple(
        f".{one}.{kind}" for one in ([named] if isinstance(named, str) else named) for kind in ("weight", "bias")
    )
    return {key: tensor for key, tensor in state.items() if not f".{key}".endswith(ends)}


def _prefixes(state: Mapping[str, Tensor], least: int) -> list[str]:
    """What stands before the names of so many tensors at least, whole words, the shortest first; the empty one too."""
    counts: dict[str, int] = {"": len(state)}
    for key in state:
        words = key.split(".")
        for depth in range(1, min(len(words), 4)):
            prefix = ".".join(words[:depth]) + "."
            counts[prefix] = counts.get(prefix, 0) + 1
    return sorted((prefix for prefix, count in counts.items() if count >= least or not prefix), key=len)


def _from_hub(repository: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    quiet = logging.getLogger("huggingface_hub")
    before = quiet.level
    quiet.setLevel(logging.ERROR)  # each of its attempts
    places = [SAFE.get(name, f"{name.rpartition('.')[0]}.safetensors"), name]
    try:
        for local in (True, False):
            if not local:
                _require_network("huggingface.co")
            for place in places:
                try:
                    return Path(hf_hub_download(repository, place, local_files_only=local))
                except LocalEntryNotFoundError:  # not in the cache, or no answer
                    if not local:
                        raise
                except EntryNotFoundError:  # the other one may be there
                    continue
    finally:
        quiet.setLevel(before)
    raise FileNotFoundError(f"none of {', '.join(places)} is there")


def _from_address(url: str) -> Path:
    from timm.models._hub import download_cached_file, get_cache_dir

    if not (Path(get_cache_dir()) / Path(urlparse(url).path).name).exists():
        _require_network(urlparse(url).hostname or "")
    return Path(download_cached_file(url, check_hash=True))


def _require_network(host: str) -> None:
    """Raise OSError at once where a name has no address, which clients try again and again."""
    if not getproxies():
        socket.getaddrinfo(host, 443)
