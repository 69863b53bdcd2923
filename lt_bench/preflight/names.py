"""Names and titles that stand for another class than the one that is run: a record says CE of nothing but CE."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict

from lt_bench.config import trust
from lt_bench.config.compose import NAMED, component_of, groups, target_of, titles
from lt_bench.config.conf import text_of
from lt_bench.config.layers import FORMER
from lt_bench.config.recipes import COMPONENTS, NONE, short_for
from lt_bench.config.schema import Config, node
from lt_bench.config.stages import stage_of


def misnamed(config: Config) -> Iterator[str]:
    """One line for every name or title of a choice of a group whose class is another one; unneeded versions of code."""
    for group in NAMED:
        words = {key: node(config, f"{group}.{key}") for key in ("name", "title")}
        target = node(config, f"{group}._target_")
        meant = {key: choice for key, word in words.items() if (choice := _meant(group, word, target))}
        for key, choice in meant.items():
            if target_of(group, choice) != target:
                yield _claims(group, key, str(words[key]), f"{group}={choice}", target)
                break
        else:
            if len(set(meant.values())) > 1:
                yield (
                    f"{group}.name={words['name']} and {group}.title={words['title']} stand for two choices, "
                    f"{' and '.join(meant.values())}; name the one that is run with {group}=CHOICE, or set names of "
                    "your own"
                )
    yield from (*_components(config), *_unnamed_components(config), *_tuned(config))
    used = {stage_of(key).key for key, _ in trust.own_targets(config)}
    for stage, typed in asdict(config.own_code).items():
        if typed is not None and stage not in used:
            yield f"own_code.{stage}={typed} is a version of code of your own, and none is run there; leave it out"


def _components(config: Config) -> Iterator[str]:
    """One line for every name or title of a method that stands for a component of another class."""
    for group in COMPONENTS:
        own = (node(config, f"method.{group}") or {}).get("_target_")
        for choice in groups()[group] if own else ():
            if choice == NONE or target_of(group, choice) == own:
                continue
            for key, end in (("name", f"_{choice}"), ("title", f"+{choice}")):
                if _plain(word := str(config.method[key])).endswith(end):
                    yield _claims("method", key, word, f"{group}={choice}", str(own))


def _tuned(config: Config) -> Iterator[str]:
    """One line for a title of a method that stands for another kind of fine-tuning."""
    title, kind = str(config.method["title"]), (config.method.get("finetune") or {}).get("kind")
    for known, choice in titles("finetune").items() if kind else ():
        meant = re.search(r"^    kind: (\w+)", text_of(f"finetune/{choice}"), re.MULTILINE)
        if title.endswith(known.removeprefix(FORMER)) and meant and meant[1] != kind:
            yield (
                f"method.title={title} stands for finetune={choice}, and method.finetune.kind={kind} is another; set "
                f"finetune={kind}, or method.title=NAME"
            )


def _unnamed_components(config: Config) -> Iterator[str]:
    """One line for every component of a method whose name or title stands for a method without it."""
    for group in COMPONENTS:
        own = (node(config, f"method.{group}") or {}).get("_target_")
        for key in ("name", "title") if own else ():
            word = str(config.method[key])
            meant = _meant("method", word, "")
            if meant and short_for(meant).get(group, NONE) == NONE and component_of(meant, group) != own:
                yield (
                    f"method.{key}={word} stands for method={meant}, which has no {own}; set {group}=CHOICE instead, "
                    f"or method.{key}=NAME"
                )
                break


def _meant(group: str, word: str | None, target: str) -> str | None:
    """The choice whose name or title a reader takes a word for, however it is spaced and cased.

    A class of one's own may be called as it is: ``ResNet50`` stands for itself, unlike the very name of a choice.
    """
    if word is None:
        return None
    choices = {**titles(group), **{name: name for name in groups()[group]}}
    if word in choices or word == target.rpartition(".")[2]:
        return choices.get(word)
    return {_plain(known): choice for known, choice in choices.items()}.get(_plain(word))


def _plain(word: str) -> str:
    return "".join(unicodedata.normalize("NFKC", word).casefold().split())


def _claims(group: str, key: str, word: str, choice: str, target: str) -> str:
    return f"{group}.{key}={word} stands for {choice}, and {target} is another; set {group}.{key}=NAME"
