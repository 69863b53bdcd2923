"""Names of timm's networks and of their weights, read from its sources: nothing is imported for that."""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lt_bench.config.keys import nearest
from lt_bench.config.schema import Config
from lt_bench.config.signatures import module_file

TIMM = "lt_bench.models.timm_encoder.TimmEncoder"
MODEL = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
FROM = ("url", "hf_hub_id", "file")  # by which timm finds weights


def full_name(model: str) -> str:
    """A model with the tag of its weights, which is timm's first where none is named; as it is where timm has none."""
    name, _, tag = model.partition(".")
    path = _files().get(name)
    tags = _tags(path).get(name, []) if path and not tag else []
    return f"{name}.{tags[0]}" if tags and tags[0] else model


def named_in_full(config: Config) -> Iterator[str]:
    """One line for a network that timm does not have; else its name, and what is called after it, is set in full."""
    backbone = config.backbone
    if backbone.get("_target_") != TIMM or not isinstance(model := backbone.get("model"), str) or not _files():
        return
    name, _, tag = model.partition(".")
    path = _files().get(name)
    if path is None:
        yield f"backbone.model={model}: timm has no network {name}{nearest(name, _files())}; set backbone.model=NAME"
        return
    tags = [known for known in _tags(path).get(name, []) if known]
    if tag and tags and tag not in tags:
        known = ", ".join(f"{name}.{one}" for one in tags)
        yield f"backbone.model={model}: timm has no such weights of {name}; backbone.model= takes {known}"
        return
    backbone["model"] = full_name(model)
    if backbone["name"] == model:
        backbone["name"] = backbone["model"]


@cache
def _files() -> dict[str, Path]:
    """The source of every network of timm, by name; none where timm is not installed, or has other sources."""
    package = module_file("timm")
    files = sorted((package.parent / "models").glob("*.py")) if package else []
    return {name: path for path in files for name in MODEL.findall(path.read_text("utf-8", "replace"))}


@cache
def _tags(path: Path) -> dict[str, list[str]]:
    """The tags of the weights of every network in a source file, timm's own choice first."""
    found: dict[str, deque[str]] = {}
    first, with_weights = set[str](), set[str]()
    for key, value in _entries(ast.parse(path.read_text("utf-8", "replace"))):
        name, _, tag = key.partition(".")
        has = isinstance(value, ast.Call) and any(word.arg in FROM and _says(word.value) for word in value.keywords)
        tags = found.setdefault(name, deque())
        preferred = (has and not tag) or (tag.endswith("*") and name not in first)
        if preferred or (has and name not in with_weights):
            tags.appendleft(tag.strip("*"))
        else:
            tags.append(tag)
        first |= {name} if preferred else set()
        with_weights |= {name} if has else set()
    return {name: [*tags] for name, tags in found.items()}


def _entries(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """What ``default_cfgs`` holds, in order."""
    for item in tree.body:
        if isinstance(item, ast.Assign) and any(ast.unparse(one) == "default_cfgs" for one in item.targets):
            inside = item.value.args[0] if isinstance(item.value, ast.Call) and item.value.args else item.value
            for key, value in zip(inside.keys, inside.values, strict=True) if isinstance(inside, ast.Dict) else ():
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value


def _says(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and not value.value)
