"""What a config may let run: which ``_target_`` names are trusted, and the only place where one becomes an object.

Trusted are the components of this package, the classes and functions of PyTorch, torchvision and timm in ``LIBRARIES``,
and modules that the user names. Nothing is imported to find that out.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lt_bench.config import epochs, factors, held_out
from lt_bench.config.keys import affects_result
from lt_bench.config.schema import Config, flat, plain
from lt_bench.config.signatures import TargetError, defined_in, holds_libraries, home_of, is_dotted_name

# The rooms whose classes and functions are components of a run, and those that are for ``dataset`` and ``tracker``
# alone: what reads and writes files elsewhere in the package is no component, whatever a config says.
PACKAGE = "lt_bench"
COMPONENTS = tuple(
    f"{PACKAGE}.{room}." for room in "methods stage_two models losses augment geometry engine.schedules".split()
)
SOURCES = f"{PACKAGE}.data.sources."
TRACKERS = f"{PACKAGE}.trackers."

_OPTIMIZERS = """
ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam RAdam RMSprop Rprop SGD SparseAdam
""".split()
_NETWORKS = """
resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2
wide_resnet101_2 convnext_tiny convnext_small convnext_base convnext_large densenet121 densenet161 densenet169
densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
efficientnet_b6 efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l mobilenet_v2 mobilenet_v3_small
mobilenet_v3_large swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b vit_b_16 vit_b_32 vit_l_16 vit_l_32 vit_h_14
""".split()
LIBRARIES = frozenset(
    {
        *(f"torch.optim.{name}" for name in _OPTIMIZERS),
        *(f"torchvision.models.{name}" for name in _NETWORKS),
        "timm.create_model",
    }
)

# Parameters by which one of these reads files of weights as pickles, which may hold code.
UNPICKLES = {"timm.create_model": ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")}

# What a value may refer to: another key, and a number of epochs under the budget.
_RESOLVERS = "|".join(epochs.RESOLVERS + factors.RESOLVERS + held_out.RESOLVERS)
OWN_REFERENCE = re.compile(rf"\$\{{\s*(?:(?:{_RESOLVERS})\s*:[^:${{}}]*|[\w.\[\]]+\s*)\}}")

SETUP = "launch.setup"  # beside modules: the shell commands and options of sbatch in submissions that are tried again


def is_own(target: str) -> bool:
    """Whether a ``_target_`` is code of the user's own: neither the package's nor a library's that is trusted."""
    return not target.startswith(f"{PACKAGE}.") and target not in LIBRARIES


def is_trusted(key: str, target: str, named: Collection[str]) -> bool:
    """Whether the ``_target_`` of the node ``key`` may be run, where the user has named some modules.

    A module stands for those below it too. What the package only imports is not its own. Raises TargetError for what
    does not exist.
    """
    is_tracker = key.startswith("tracker.")
    rooms = (SOURCES,) if key == "dataset" else (TRACKERS,) if is_tracker else COMPONENTS
    if target.startswith(f"{PACKAGE}."):
        return target.startswith(rooms) and f"{defined_in(target)}.".startswith(rooms)
    library = target in LIBRARIES and not is_tracker
    return library or any(target.startswith(f"{module}.") for module in named)


def untrusted(values: Mapping[str, Any], named: Collection[str]) -> Iterator[str]:
    """One line for every ``_target_`` among values (by dotted key) that may not be run, with what to type.

    What does not exist is left to those who look for its parameters.
    """
    for key, target in _targets(values):
        for name in UNPICKLES.get(target, ()):
            if any(value and f"{one}.".startswith(f"{key}.{name}.") for one, value in values.items()):
                said = f"{target} would run the code in such a file; leave it out, and set {key}.pretrained=FILE"
                yield f"{key}.{name}: {said}"
        try:
            defined_in(target)
        except TargetError:
            continue
        if not is_trusted(key, target, named):
            yield f"{key}._target_={target}: {_advice(key, target)}"


def lying_here(values: Mapping[str, Any]) -> list[str]:
    """The modules in the current folder, by their first names, that the targets among some values name."""
    tops = dict.fromkeys(target.partition(".")[0] for _, target in _targets(values) if is_own(target))
    return [top for top in tops if _lies_here(top)]


def own_targets(config: Config, deciding: bool = True) -> list[tuple[str, str]]:
    """The nodes of a config that name code of the user's own, with what they name; those alone that decide the result.

    With ``deciding=False`` also those that do not, such as trackers.
    """
    found = [(key, target) for key, target in _targets(flat(plain(config))) if is_own(target)]
    return [(key, target) for key, target in found if affects_result(key) or not deciding]


def wrong_names(named: Iterable[Any]) -> Iterator[str]:
    """One line for every word that ``trust`` cannot take."""
    for name in named:
        if not is_dotted_name(str(name)):
            yield f"trust: {name!r} is no module; write trust=[my_module]"


def load(target: str) -> Any:
    """The class or function that a checked config names: one import and one attribute of that module."""
    module, _, name = target.rpartition(".")
    return getattr(import_named(module), name)


def import_named(module: str) -> ModuleType:
    """Import a module that the user has named, with what it imports beside it, from the current folder too.

    The installed command does not look there by itself, and looks there last: no file stands for an installed module.
    """
    here = os.getcwd()
    if _lies_here(module.partition(".")[0]) and not {"", here} & {*sys.path}:
        sys.path.append(here)
    return import_module(module)


def foreign_references(config: DictConfig) -> Iterator[str]:
    """One line for every value that refers to something outside the config, such as an environment variable."""
    for key, text in _texts(OmegaConf.to_container(config, resolve=False)):
        left, found = text, 1
        while found:  # from the innermost
            left, found = OWN_REFERENCE.subn("", left)
        if "${" in left:
            yield (
                f"{key}={text}: a config refers to its own keys and to ${{epochs:N}} alone; type the value itself "
                "(a shell fills in its variables)"
            )


def _targets(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The nodes that name a class, with what they name."""
    for key, value in values.items():
        node, _, name = key.rpartition(".")
        if name == "_target_" and isinstance(value, str):
            yield node, value


def _advice(key: str, target: str) -> str:
    module = target.partition(".")[0]
    if module == PACKAGE:
        return f"no component of lt_bench that {key} can be; name a class of your own file, or one that conf/ names"
    return (
        f"{module} is code that nobody has asked to run; if you know what it does, add trust=[{module}] "
        "(trusted are lt_bench, the optimisers and networks of PyTorch, torchvision and timm, and files in the current "
        "folder that are named on the command line)"
    )


def _lies_here(module: str) -> bool:
    home = home_of(module)
    try:
        return home is not None and not holds_libraries(home) and home.samefile(Path.cwd())
    except OSError:
        return False


def _texts(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a tree of dictionaries and lists, under the dotted keys of their dictionaries."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _texts(value, f"{key}.{name}".strip("."))
    elif isinstance(tree, list):
        for value in tree:
            yield from _texts(value, key)
    elif isinstance(tree, str):
        yield key, tree
