"""Weights of an encoder from a file or from torchvision, and convolutions that stay as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.files import check_archive, check_entries, open_regular
from lt_bench.models.convolutions import LEAST_SHARE, convolution_share
from lt_bench.models.prefixes import Match, matches, needed, obvious, tensors_in, typed
from lt_bench.models.timm_encoder import TimmEncoder
from lt_bench.models.timm_weights import fetched, forms
from lt_bench.models.weight_files import ALONE, DILATED, ZIP, damage, is_safetensors, located, refusal, shown_names


class _Ignored:
    """Stands for a class or function of NumPy that a file names: nothing of NumPy is called, and nothing is kept."""

    def __init__(self, *values: object) -> None:
        """Whatever the file gives."""

    def __setstate__(self, state: object) -> None:
        """Whatever the file gives."""


# What single numbers of NumPy, such as a best accuracy beside the weights, are saved as; the second before NumPy 2.
NUMBERS_OF_NUMPY = [
    type(name, (_Ignored,), {"__module__": module})
    for module, name in (("numpy", "dtype"), ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"))
]


class Loaded(NamedTuple):
    """What was taken from a file of weights: under which prefix, how many of how many tensors, and what was not.

    ``random`` are tensors of the encoder that stay as they were, ``left_out`` parts of the file with the number of
    their tensors, ``others`` further prefixes with a whole encoder, ``sha256`` that of a file which timm fetched.
    """

    prefix: str
    tensors: int
    of: int
    random: list[str]
    left_out: dict[str, int]
    others: list[str]
    sha256: str | None = None

    def recorded(self) -> dict[str, Any]:
        """The same for a record."""
        return {key: value for key, value in self._asdict().items() if key in ("prefix", "tensors", "of") or value}

    def __str__(self) -> str:
        number = f"all {self.of}" if self.tensors == self.of else f"{self.tensors} of {self.of}"
        said = [f"{number} tensors of the encoder {_under(self.prefix)}"]
        if self.random:
            said.append(f"not there, so that they start as the seed says: {shown_names(self.random)}")
        if self.left_out:
            said.append(f"left out: {shown_names([f'{part} ({n})' for part, n in self.left_out.items()])}")
        return "; ".join(said)


def load_pretrained(
    encoder: nn.Module, source: str, name: str, prefix: str | None = None, partial: bool = False
) -> Loaded:
    """Load weights into an encoder, in place: ``torchvision`` or ``timm`` for the network of that name, else a file.

    A file is a state dictionary as ``.safetensors`` or saved by PyTorch, alone or inside other dictionaries. The
    encoder's tensors are found by their names, whatever stands before them; a ``prefix`` says which are meant where
    several networks are there. Heads and other parts that the encoder does not have are left out. With ``partial`` a
    file may lack some of the encoder's tensors, or have others.
    Raises SettingError that says what the file is, or what does not fit; OSError where nothing can be fetched.
    """
    encoder = network_of(encoder)
    own = encoder.state_dict()
    wanted = needed(own)
    fetched_from = fetched(encoder) if source == "timm" else None
    read = _torchvisions(name) if source == "torchvision" else _read(fetched_from or located(source))
    state, found = _most_of(encoder, read, wanted)
    if not (found and wanted):
        there = f"it has {len(state)} others, such as {shown_names([*state], 2)}" if state else "it has no tensors"
        raise _unfit(name, f"none of its {len(wanted)} tensors ({shown_names(wanted, 1)}) is in it; {there}", source)
    match, others = _choose(found, wanted, partial, source) if prefix is None else (_typed(found, prefix), [])
    fitting = [key for key in wanted if key in match.fitting]
    problems = {
        "missing": match.missing(own),
        "of another shape": match.misshapen(own),
        "not in the encoder": match.surplus(state),
    }
    wrong = [f"{len(names)} {what}: {shown_names(names)}" for what, names in problems.items() if names]
    if wrong and not (partial and fitting):
        also = f"; weights_partial=true takes the {len(fitting)} of {len(wanted)} that fit" if fitting else ""
        raise _unfit(name, f"{_under(match.prefix)}: {'; '.join(wrong)}{also}", source)
    known = source == "torchvision"  # by a checksum
    if bad := [key for key in fitting if not known and not _is_finite(match.fitting[key], own[key])]:
        raise SettingError(
            "pretrained", f"weights that are finite numbers (not so: {shown_names(bad)})", source, "FILE"
        )
    variances = [key for key in fitting if not known and key.endswith("running_var")]
    if bad := [key for key in variances if bool((match.fitting[key].to(own[key].dtype) < 0).any())]:
        raise SettingError(
            "pretrained", f"weights with variances of 0 or more (not so: {shown_names(bad)})", source, "FILE"
        )
    encoder.load_state_dict(match.fitting, strict=False)
    random = [key for key in wanted if key not in match.fitting]
    digest = _sha256(fetched_from) if fetched_from else None
    return Loaded(match.prefix, len(fitting), len(wanted), random, match.left_out(state), others, digest)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while part := stream.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def network_of(encoder: nn.Module) -> nn.Module:
    """The network whose tensors have the names that others give them: what stands inside an encoder of timm's."""
    return encoder.network if isinstance(encoder, TimmEncoder) else encoder


def _most_of(network: nn.Module, state: dict[str, Tensor], wanted: list[str]) -> tuple[dict[str, Tensor], list[Match]]:
    """The tensors of a file in the form that has most of a network, and where in it they are."""
    best: tuple[dict[str, Tensor], list[Match]] | None = None
    most = -1
    for form in forms(network, state) if hasattr(network, "pretrained_cfg") else (state,):
        found = matches(form, network)
        count = max((sum(key in one.fitting for key in wanted) for one in found), default=0)
        if count > most:
            best, most = (form, found), count
        if count == len(wanted):
            break
    assert best is not None
    return best


def _choose(found: list[Match], wanted: list[str], partial: bool, source: str) -> tuple[Match, list[str]]:
    """The match that is meant where no prefix is typed, and the prefixes of others that have as much."""

    def size(one: Match) -> int:
        return sum(key in one.fitting for key in wanted)

    most = max(map(size, found))
    if most < len(wanted) and not partial:
        return found[0], []
    alike = [one for one in found if size(one) == most]
    if match := obvious(alike):
        return match, [one.prefix for one in alike if one is not match]
    several = _shown_prefixes(alike)
    raise SettingError(
        "weights_prefix", f"one of {several}, as {source} has several networks", None, _shown_prefixes(alike[:1])
    )


def _typed(found: list[Match], prefix: str) -> Match:
    chosen = typed(found, prefix)
    if len(chosen) == 1:
        return chosen[0]
    there = chosen or [one for one in found if 2 * len(one.named) >= len(found[0].named)]
    raise SettingError(
        "weights_prefix", f"one of {_shown_prefixes(there)} for this file", prefix, _shown_prefixes(there[:1])
    )


def _unfit(name: str, why: str, source: str) -> SettingError:
    return SettingError("pretrained", f"weights that fit {name} ({why})", source, "FILE")


def _is_finite(tensor: Tensor, own: Tensor) -> bool:
    """Whether a tensor is finite in the number format of the encoder's own."""
    return bool(torch.isfinite(tensor.to(own.dtype)).all())


def _shown_prefixes(found: list[Match]) -> str:
    return shown_names([one.prefix or "''" for one in found])


def _under(prefix: str) -> str:
    return f"under the prefix {shown_names([prefix])}" if prefix else "under their own names"


def freeze_convolutions(encoder: nn.Module, trainable: Sequence[str]) -> None:
    """Keep the weights of all convolutions, except below the named modules, in place; batch norms stay trainable.

    Raises SettingError for a name that no convolution is below, and for a network that is of other layers.
    Source: PaCo's recipe for Places-LT, where those of ``layer4.2`` are trained.
    """
    encoder = network_of(encoder)
    convolutions = {key: part for key, part in encoder.named_modules() if isinstance(part, nn.Conv2d)}
    if (share := convolution_share(encoder)) < LEAST_SHARE:
        rule = f"null for a network that has {100 * share:.2g} % of its weights in convolutions"
        raise SettingError("trainable_convolutions", rule, list(trainable), "null")
    for prefix in trainable:
        if not any(_below(key, prefix) for key in convolutions):
            above = shown_names(sorted({key.rpartition(".")[0] or key for key in convolutions}), 20)
            raise SettingError("trainable_convolutions", f"a list of modules with convolutions ({above})", prefix)
    for key, convolution in convolutions.items():
        convolution.requires_grad_(any(_below(key, prefix) for prefix in trainable))


def _below(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith(f"{prefix}.")


def _torchvisions(name: str) -> dict[str, Any]:
    """The first published weights, which those who use pretrained networks on long tails mean.

    A dilated network has those of the plain one.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(name.removesuffix(DILATED))["IMAGENET1K_V1"]
    try:
        state: dict[str, Any] = weights.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
    except OSError as error:
        rule = f"a copy of {weights.url} in a file, as that cannot be fetched ({error})"
        raise SettingError("pretrained", rule, "torchvision", "FILE") from error
    except Exception:  # the file that was fetched, now or before, is damaged
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise OSError(f"the copy of {weights.url} in {folder} is damaged; delete it there to fetch it anew") from None
    return state


def _read(path: Path) -> dict[str, Tensor]:
    """All tensors in a file, by dotted names."""
    if why := refusal(path):
        raise SettingError("pretrained", _no_weights(why), str(path), "FILE")
    try:
        check_archive(path)
        if is_safetensors(path):
            return load_file(path)
        known = getattr(torch.serialization, "safe_globals", nullcontext)(NUMBERS_OF_NUMPY)  # PyTorch 2.4 has none
        with open_regular(path) as stream, known:
            if stream.read(len(ZIP)) == ZIP:
                check_entries(stream)
            stream.seek(0)
            state: Any = torch.load(stream, map_location="cpu", weights_only=True)  # whose suffix decides nothing
    except MemoryError:
        raise
    except OSError as error:
        why = f"not readable: {error.strerror or error}"
        raise SettingError("pretrained", _no_weights(why), str(path), "FILE") from error
    except Exception:  # what PyTorch raises for a damaged file or one with code in it is not listed anywhere
        raise SettingError(
            "pretrained", _no_weights(damage(path)), str(path), "FILE"
        ) from None  # it advises to unpickle
    if not isinstance(state, dict):
        raise SettingError(
            "pretrained", _no_weights(f"no dictionary, but {type(state).__name__}; {ALONE}"), str(path), "FILE"
        )
    try:
        return tensors_in(state)
    except ValueError as error:
        raise SettingError("pretrained", _no_weights(str(error)), str(path), "FILE") from error


def _no_weights(why: str) -> str:
    return f"a file of weights (this one: {why})"
