"""Fine-tuning: a component that any method with labels takes; what is trained, and what the classifier starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from lt_bench.contracts import Method
from lt_bench.errors import SettingError
from lt_bench.methods.classifier_start import ClassifierStart, Start, startable
from lt_bench.models.adapters import Form
from lt_bench.models.finetuned import FineTuned, Kind, Part


@dataclass(frozen=True)
class FineTuning:
    """The encoder trains what ``kind`` says, see ``models.finetuned.FineTuned``; modules have ``size``, null: as usual.

    ``start`` is what the classifier starts from, see ``methods.classifier_start``; ``text_features`` is the file for
    ``start="text"``.
    Source: Shi et al., ICML 2024 (LIFT).  Raises SettingError for what cannot be, when it is applied.
    """

    kind: Kind = "full"
    size: float | None = None
    blocks: int | list[int] | None = None
    form: Form = "lift"
    part: Part = "all"
    mask_seed: int = 0
    ignore_blocks: bool = False
    batch_norm: Literal["train", "eval"] = "train"
    start: Start = "none"
    text_features: str | None = None

    def __post_init__(self) -> None:
        choices = (("kind", Kind), ("form", Form), ("part", Part), ("start", Start))
        for name, allowed in choices:
            if getattr(self, name) not in get_args(allowed):
                raise SettingError(name, f"one of {', '.join(get_args(allowed))}", getattr(self, name))
        if (self.text_features is None) == (self.start == "text"):
            rule = "a file, as the start is text" if self.start == "text" else "null, as the start is no text"
            raise SettingError("text_features", rule, self.text_features, "FILE" if self.start == "text" else "null")

    def applied(self, encoder: nn.Module, num_classes: int) -> FineTuned:
        """The encoder, changed in place, of which the kind's part is trained."""
        return FineTuned(
            encoder,
            self.kind,
            self.size,
            self.blocks,
            num_classes=num_classes,
            form=self.form,
            part=self.part,
            mask_seed=self.mask_seed,
            ignore_blocks=self.ignore_blocks,
            batch_norm=self.batch_norm,
        )

    def begin(self, method: Method, class_names: Sequence[str] | None) -> None:
        """Let the classifier of a method start as it is meant to, once its training begins."""
        if self.start == "none":
            return
        if not startable(method.classifier):
            rule = "none for a method without a linear or cosine classifier"
            raise SettingError("start", rule, self.start, "none")
        method.start = ClassifierStart(self.start, self.text_features, class_names)
