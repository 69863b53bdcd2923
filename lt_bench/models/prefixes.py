"""Where in a file of weights the tensors of a network are: under which prefix and in which spelling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

COUNTER = ".num_batches_tracked"  # of batch norms; older files lack them
# Networks that follow another one, beside which the one that is trained is meant: MoCo, BYOL, solo-learn.
FOLLOWS = re.compile(r"(?:encoder_k|key_encoder|(?:momentum|target)(?:_\w+)?)")
# Modules that PyTorch puts around parts of a network.
WRAPPED = re.compile(r"(?<=\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


class Match(NamedTuple):
    """What of a network is in a file under one prefix, which ends with a dot or is empty.

    ``named`` has the tensors of a right name and ``fitting`` those of a right shape and kind too, by the network's own
    names; ``places`` their names in the file.
    """

    prefix: str
    named: dict[str, Tensor]
    fitting: dict[str, Tensor]
    places: dict[str, str]
    parts: frozenset[str]

    def missing(self, own: Mapping[str, Tensor]) -> list[str]:
        """Tensors of the network that are not there."""
        return [name for name in needed(own) if name not in self.named]

    def misshapen(self, own: Mapping[str, Tensor]) -> list[str]:
        """Tensors of another shape or kind, with both."""
        wrong = [name for name in needed(own) if name in self.named and name not in self.fitting]
        return [f"{name} {_kind(self.named[name])} for {_kind(own[name])}" for name in wrong]

    def surplus(self, state: Mapping[str, Tensor]) -> list[str]:
        """Tensors in parts that the network has, which has no such tensor: it is another network."""
        taken = {*self.places.values()}
        return [key for key in state if key not in taken and (self._is_part(key) or self._is_part(_bare(key)))]

    def _is_part(self, key: str) -> bool:
        return key.startswith(self.prefix) and key.removeprefix(self.prefix).partition(".")[0] in self.parts

    def left_out(self, state: Mapping[str, Tensor]) -> dict[str, int]:
        """The other parts of the file, such as heads and queues, with the number of their tensors."""
        found: dict[str, int] = {}
        for key in state.keys() - {*self.places.values()}:
            group = _part(key, self.prefix)
            found[group] = found.get(group, 0) + 1
        return dict(sorted(found.items()))


def tensors_in(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """All tensors in nested dictionaries of texts, by dotted names; ValueError where two have one name.

    Lists, and dictionaries by number such as an optimiser's, hold no weights.
    """
    found: dict[str, Tensor] = {}
    seen, waiting = {id(state)}, [("", state)]
    while waiting:
        prefix, inside = waiting.pop()
        for key, value in inside.items():
            name = f"{prefix}{key}"
            if isinstance(value, Tensor) and isinstance(key, str):
                if name in found:
                    raise ValueError(f"two tensors of the name {name}")
                found[name] = value
            elif isinstance(value, Mapping) and isinstance(key, str) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{name}.", value))
    return found


def needed(own: Mapping[str, Tensor]) -> list[str]:
    """The names without which a network is not whole."""
    return [name for name in own if not name.endswith(COUNTER)]


def matches(state: Mapping[str, Tensor], network: nn.Module) -> list[Match]:
    """All prefixes under which something of a network is, those with most of it first.

    Tried in this order: the network's own names; those of ``network.other_names``, mappings of parts of names to what
    other code calls them; numbers in place of its parts, as ``nn.Sequential(*parts)`` has them; without the names of
    wrappers inside. Where all of the network is there, nothing else is tried.
    """
    own, found = network.state_dict(), list[Match]()
    count = len(needed(own))
    bare = {_bare(key): key for key in state}
    for keys in ({key: key for key in state}, *([bare] if bare.keys() != state.keys() else [])):
        for names in _spellings(keys, network):
            found += _under_prefixes(state, keys, names, own)
            if any(len([name for name in needed(own) if name in one.fitting]) == count for one in found):
                return sorted(found, key=_rank, reverse=True)
    return sorted(found, key=_rank, reverse=True)


def obvious(found: list[Match]) -> Match | None:
    """Of matches that fit alike, the only one, the only one with tensors of its own, or the one that others follow."""
    different: list[Match] = []
    for one in found:
        if not any(_equal(one, other) for other in different):
            different.append(one)
    leading = [one for one in different if not any(FOLLOWS.fullmatch(word) for word in one.prefix.split("."))]
    for group in (different, leading):
        if len(group) == 1:
            return group[0]
    return None


def typed(found: list[Match], prefix: str) -> list[Match]:
    """Those under a prefix that was typed, with or without its last dot; else those with its words in theirs.

    Of the latter only those with most of the network.
    """
    wanted = prefix.strip(".")
    if exact := [one for one in found if one.prefix.rstrip(".") == wanted]:
        return exact
    having = [one for one in found if wanted and f".{wanted}." in f".{one.prefix}"]
    return [one for one in having if len(one.named) == len(having[0].named)]


def _spellings(keys: Mapping[str, str], network: nn.Module) -> Iterator[dict[str, str]]:
    """Names that the tensors of a network may have in a file, with its own."""
    own = {name: name for name in network.state_dict()}
    spelled = [own]
    for words in getattr(network, "other_names", ()):
        theirs = {name: name for name in own}
        for ours, other in words.items():
            theirs = {name.replace(ours, other, 1): mine for name, mine in theirs.items()}
        spelled.append(theirs)
    yield from spelled
    numbers = _numbers(keys)
    for names in spelled:
        parts = list(dict.fromkeys(name.partition(".")[0] for name in names))
        for numbered in numbers if len(parts) > 1 else ():
            if len(numbered) >= len(parts):
                place = dict(zip(parts, numbered, strict=False))
                halves = ((name.partition("."), mine) for name, mine in names.items())
                yield {f"{place[part]}{dot}{rest}": mine for (part, dot, rest), mine in halves}


def _numbers(keys: Mapping[str, str]) -> list[tuple[int, ...]]:
    """The numbers that stand side by side in names, each series once."""
    found: dict[str, set[int]] = {}
    for key in keys:
        words = key.split(".")
        for place, word in enumerate(words[:-1]):
            if word.isdecimal() and word.isascii() and len(word) < 4:
                found.setdefault(".".join(words[:place]), set()).add(int(word))
    return list(dict.fromkeys(tuple(sorted(numbers)) for numbers in found.values()))


def _under_prefixes(
    state: Mapping[str, Tensor], keys: Mapping[str, str], names: Mapping[str, str], own: Mapping[str, Tensor]
) -> list[Match]:
    places: dict[str, dict[str, str]] = {}
    for key, full in keys.items():
        start = 0
        while True:
            if mine := names.get(key[start:]):
                places.setdefault(key[:start], {})[mine] = full
            if not (start := key.find(".", start) + 1):
                break
    parts = frozenset(name.partition(".")[0] for name in names)
    found = []
    for prefix, there in places.items():
        named = {mine: state[full] for mine, full in there.items()}
        fitting = {name: tensor for name, tensor in named.items() if _fits(tensor, own[name])}
        found.append(Match(prefix, named, fitting, there, parts))
    return found


def _rank(match: Match) -> tuple[int, int, int]:
    return len(match.named), len(match.fitting), -len(match.prefix)


def _fits(tensor: Tensor, own: Tensor) -> bool:
    plain = tensor.layout is torch.strided and tensor.device == own.device and not tensor.is_quantized
    alike = tensor.is_floating_point() == own.is_floating_point() and tensor.is_complex() == own.is_complex()
    return plain and alike and tensor.shape == own.shape and _converts(tensor.dtype, own.dtype)


@cache
def _converts(kind: torch.dtype, own: torch.dtype) -> bool:
    """Whether PyTorch can convert one number format to the other, as it cannot those of less than eight bits."""
    try:
        torch.empty(1, dtype=kind).to(own)
    except NotImplementedError:
        return False
    return True


def _equal(one: Match, other: Match) -> bool:
    return one.fitting.keys() == other.fitting.keys() and all(
        tensor.dtype == other.fitting[name].dtype and torch.equal(*map(_comparable, (tensor, other.fitting[name])))
        for name, tensor in one.fitting.items()
    )


def _comparable(tensor: Tensor) -> Tensor:
    """A tensor of small floats as wider ones, since PyTorch converts those of eight bits and does not compare them."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def _kind(tensor: Tensor) -> str:
    usual = tensor.is_floating_point() and _converts(tensor.dtype, torch.float32)
    return f"{tuple(tensor.shape)}" if usual else f"{tuple(tensor.shape)} of {tensor.dtype}"


def _bare(key: str) -> str:
    """A name in a file without the wrappers inside."""
    return WRAPPED.sub("", key)


def _part(key: str, prefix: str) -> str:
    """The part of a file that a tensor belongs to: its name up to the first word that is not the prefix's."""
    words, common = key.split("."), 0
    for word, wanted in zip(words, prefix.split(".")[:-1], strict=False):
        if word != wanted:
            break
        common += 1
    return ".".join(words[: common + 1])
