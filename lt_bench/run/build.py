"""From a run's config to its parts: encoder, method and stage-two rule, with initial weights of the seed alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from lt_bench.config.schema import Config
from lt_bench.config.stages import StageName
from lt_bench.contracts import Method, StageTwo, TrainInfo
from lt_bench.data.load import Data, StageTwoImages
from lt_bench.engine.random import derived_seed
from lt_bench.errors import SettingError, UsageError, keyed
from lt_bench.methods.finetune import FineTuning
from lt_bench.models.momentum import MomentumEncoder
from lt_bench.models.pool import build_encoder
from lt_bench.models.pretrained import Loaded, freeze_convolutions, load_pretrained
from lt_bench.predict.predictor import load
from lt_bench.preflight.build import build

TUNING = "method.finetune"
TEACHER = "teacher"  # a parameter of methods that learn from the predictor of another run


def new_method(config: Config, data: Data, device: torch.device) -> tuple[Method, Loaded | None]:
    """The method of stage one on a device, and what was loaded into its encoder; raises UsageError."""
    _seed(config, StageName.ONE)
    encoder, loaded = new_encoder(config)
    counts = torch.from_numpy(data.train_counts).to(data.train.labels.device)
    info = TrainInfo(data.train.labels, data.num_classes, config.train.epochs, data.class_names, counts)
    finetune = config.method.get("finetune")
    tuning = None if finetune is None else build(finetune, TUNING)
    if tuning is not None:
        encoder = _tuned(tuning, encoder, data.num_classes)
    method: Method = build(config.method, "method", encoder, info)
    if tuning is not None:
        with keyed(TUNING):
            tuning.begin(method, data.class_names)
    if teacher := config.method.get(TEACHER):
        taught = load(teacher, device=device, trust=config.trust)
        with keyed("method"):
            method.learn_from(taught.encoder, taught.classifier, len(taught.class_names))  # type: ignore[operator]
    if config.compile:
        for part in method.modules():  # in place, so that the names in the state do not change
            if part is method.encoder or isinstance(part, MomentumEncoder):
                part.compile()
    return method.to(device, memory_format=torch.channels_last), loaded  # type: ignore[call-overload]


def _tuned(tuning: FineTuning, encoder: nn.Module, num_classes: int) -> nn.Module:
    """The encoder, changed in place as its fine-tuning says; raises UsageError, of a kind with the choice to take."""
    with keyed(TUNING):
        try:
            return tuning.applied(encoder, num_classes)
        except SettingError as error:
            if error.name != "kind":
                raise
            # titles and training follow the choice
            raise UsageError(f"finetune is {error.rule}, not {error.value}; set finetune={error.usual}") from error


def new_encoder(config: Config) -> tuple[nn.Module, Loaded | None]:
    """The backbone with its pretrained and frozen weights, behind the pooling of its input, and what was loaded.

    Raises UsageError.
    """
    backbone, loaded = config.backbone, None
    encoder: nn.Module = build(backbone, "backbone")
    pretrained, trainable = backbone.get("pretrained"), backbone.get("trainable_convolutions")
    with keyed("backbone"):
        if pretrained is not None:
            how = backbone.get("weights_prefix"), backbone.get("weights_partial", False)
            loaded = load_pretrained(encoder, pretrained, backbone["name"], *how)
        if trainable is not None:
            freeze_convolutions(encoder, trainable)
        return build_encoder(encoder, backbone.get("input_pool", 1)), loaded


def remark_on_weights(config: Config, loaded: Loaded) -> str:
    """A line on what was loaded, with what to type where another network of the file is meant."""
    others = [f"backbone.weights_prefix={prefix}" for prefix in loaded.others]
    also = f"; others in it are taken with {' or '.join(others)}" if others else ""
    return f"backbone.pretrained={config.backbone['pretrained']}: {loaded}{also}"


def remark_on_random_weights(config: Config) -> Iterator[str]:
    """A line on an encoder whose weights stay random, as fine-tuning leaves most of them as they are."""
    kind = (config.method.get("finetune") or {}).get("kind", "full")
    ours = config.backbone["_target_"].startswith("lt_bench.")  # others may have weights by themselves
    if ours and kind not in ("full", "blocks") and config.backbone.get("pretrained") is None:
        yield (
            f"method.finetune.kind={kind} leaves the encoder's own weights as they are, and those here are random; "
            "backbone.pretrained=FILE gives it others"
        )


def new_rule(
    config: Config, data: Data, device: torch.device, stage_one: Method
) -> tuple[StageTwo, Method, StageTwoImages]:
    """The stage-two rule, its method on an encoder, and its images; raises UsageError."""
    _seed(config, StageName.TWO)
    rule: StageTwo = build(config.stage_two.parameters(), "stage_two")
    with keyed("stage_two"):
        images = data.for_stage_two(rule.train_split, rule.shots, rule.shot_seed)
        training = config.stage_two.train or config.train
        info = TrainInfo(images.labels, data.num_classes, training.epochs, data.class_names)
        method = rule.build(stage_one.evaluated_encoder(), stage_one.classifier, info)
    return rule, method.to(device), images


def _seed(config: Config, stage: StageName) -> None:
    """The initial weights are a function of (seed, stage) alone."""
    torch.manual_seed(derived_seed(config.seed, "weights", *stage.key.encode()))
