"""Networks with experts whose weights are those of the golden files, and what they are compared with."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from helpers.engine_parts import Constant, FixedBatches, one_process, stage
from helpers.fingerprints import fill_hashed, hashed
from helpers.golden_vectors import FOLDER, golden
from lt_bench.config.schema import Training
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.methods.experts import Experts
from lt_bench.models.experts import ExpertEncoder, ExpertHeads
from lt_bench.models.resnet_cifar import CifarResNet

EXPERT_OFFSET = 1000003
ARRAY = {"rtol": 1e-5, "atol": 2e-6}


def fill(encoder: nn.Module, heads: nn.Module) -> None:
    """Double precision, what is shared from offset 0 on, and what an expert has from an offset of its own."""
    assert isinstance(encoder, ExpertEncoder) and isinstance(heads, ExpertHeads)
    fill_hashed(encoder.trunk)
    for number, (tail, head) in enumerate(zip(encoder.tails, heads.heads, strict=True)):
        fill_hashed(tail, EXPERT_OFFSET * (1 + number))
        fill_hashed(head, EXPERT_OFFSET * (1 + number))


def fill_contrast(method: nn.Module) -> None:
    """Projection heads, and the networks and heads that follow, as ``fill``; only what is there."""
    for part, number in (("head", 1), ("momentum_head", 11), ("momentum_encoder", 11)):
        for networks in (one for one in getattr(method, part, nn.Module()).modules() if isinstance(one, nn.ModuleList)):
            for expert, network in enumerate(networks):
                fill_hashed(network, EXPERT_OFFSET * (number + expert))


def fresh_statistics(network: nn.Module) -> None:
    """Running statistics as before the first step."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()


def by_expert(features: Tensor, experts: int) -> Tensor:
    """Features (B, K D) as the golden files have them, (K, B, D)."""
    return torch.stack(features.chunk(experts, dim=1))


HOMES = {
    "backbone": "encoder.tails.{}",
    "backbone_MA": "momentum_encoder.layers.0.tails.{}",
    "classifier_ce": "classifier.heads.{}",
    "classifier": "classifier.heads.{}",
    "projection": "head.heads.{}.layers",
    "projection_MA": "momentum_head.layers.0.heads.{}.layers",
}


def _of_network(name: str) -> str:
    """The name in a method of what the authors' code of NCL calls so: its networks, heads and copies have numbers."""
    first, network, *rest = name.split(".")
    if first.startswith("classifier") and len(rest) == 2:  # the layers of a projection head have numbers as well
        first = first.replace("classifier", "projection")
    part = rest[0]
    if part in ("conv1", "bn1"):
        rest[:1] = ["stem", "0" if part == "conv1" else "1"]
    elif part.startswith("layer"):
        rest[:1] = ["stages", str(int(part.removeprefix("layer")) - 1)]
    return ".".join([HOMES[first].format(network), *rest])


def _ours(name: str) -> str:
    """The name in a method of what the authors' code calls so."""
    if re.match(r"(backbone|classifier)(_MA|_ce)?\.\d", name):
        return _of_network(name)
    first, _, rest = name.removeprefix("backbone.").partition(".")
    if first in ("layer2s", "layer3s"):
        expert, _, rest = rest.partition(".")
        return f"encoder.tails.{expert}.{int(first[5]) - 2}.{rest}"
    if first == "linears":
        expert, _, rest = rest.partition(".")
        return f"classifier.heads.{expert}.{rest}"
    shared = {"conv1": "stem.0", "bn1": "stem.1", "layer1": "stages.0"}
    return f"encoder.trunk.{shared[first]}.{rest}"


def _compare(case: dict[str, Tensor], names: list[str], key: str, values: dict[str, Tensor]) -> None:
    """Compare lengths, and where there are some first elements, of what a trace stores by name."""
    for place, name in enumerate(names):
        expected = case[f"{key}_l2"][place]
        if not expected.isnan():
            value = values[_ours(name)].double()
            torch.testing.assert_close(value.norm(), expected, msg=lambda said, name=name: f"{name}: {said}", **ARRAY)
            if f"{key}_head" in case:
                head = case[f"{key}_head"][place]
                torch.testing.assert_close(value.flatten()[:6], head[~head.isnan()], **ARRAY)


def follow(
    file: str,
    kind: Any,
    tmp_path: Any,
    buffers: dict[str, Tensor],
    mixing: Any = None,
    shared_stages: int | None = None,
    check: Callable[[Any, int, dict[str, Tensor]], None] | None = None,
    **options: Any,
) -> None:
    """Train a method along a golden trace by the engine's own steps, and compare what the file stores.

    ``buffers`` is what the method keeps in single precision, or what it keeps at all. One step is one epoch.
    ``check(method, step, terms)`` looks at what else is stored of a step.
    """
    case, size = golden(file), lambda name: [int(number) for number in case[name].flatten()]
    (steps,), (offset,), (experts,), (batch,), (side,) = map(
        size, ("steps", "input_offset", "num_experts", "batch", "size")
    )
    labels = torch.repeat_interleave(torch.arange(len(case["counts"])), case["counts"].long())
    widths = size("widths")[-2:]  # of the stages that experts have of their own, or of all
    encoder = CifarResNet(size("blocks"), [16, *widths], "padding", "kaiming_fan_in")
    info = TrainInfo(labels, len(case["counts"]), 200)
    method = kind(encoder, info, experts=Experts(experts, shared_stages), mixing=mixing, **options).double().train()
    fill(method.encoder, method.classifier)
    fill_contrast(method)
    fresh_statistics(method)
    for name, value in buffers.items():
        method.get_buffer(name).copy_(value)
    shape = (batch, 3, side, side)
    starts = [offset + 5_000_000 * view for view in range(len(method.views))]
    batches = [
        Batch(
            tuple(hashed(start + 100000 * step, shape) for start in starts),
            case[f"s{step}_labels"].long(),
            torch.arange(batch),
        )
        for step in range(steps)
    ]
    optimizer = {key: float(case[key]) for key in ("momentum", "weight_decay")} | {"nesterov": True}
    settings = Training(epochs=200, batch_size=batch, lr=0.1, optimizer=optimizer)
    source = FixedBatches(batches, labels)
    trainer = Trainer(method, source, settings, lambda _: Constant(0.1), one_process(source), stage(tmp_path))
    names = np.load(FOLDER / f"{file}.npz")["names"].tolist()
    seen: list[Tensor] = []
    logits_of = method.classifier.expert_logits
    method.classifier.expert_logits = lambda features: seen.append(logits_of(features)) or seen[-1]
    for step, one in enumerate(batches):
        terms = trainer._step(one, step, step, float(case[f"s{step}_lr"].flatten()[0]))
        torch.testing.assert_close(seen[-1].detach().transpose(0, 1), case[f"s{step}_logits"], **ARRAY)
        torch.testing.assert_close(terms["loss"], case[f"s{step}_loss"], rtol=1e-7, atol=0.0)
        if check is not None:
            check(method, step, terms)
        if step == 0:
            _compare(case, names, "s0_grad", {key: one.grad for key, one in method.named_parameters()})
    _compare(case, names, "final", method.state_dict())
    with torch.no_grad():
        features = method.eval().encoder(hashed(offset + 9_000_000, (4, 3, side, side)))
    torch.testing.assert_close(logits_of(features).transpose(0, 1), case["eval_expert_logits"], **ARRAY)
    torch.testing.assert_close(method.classifier(features).detach(), case["eval_logits"], **ARRAY)
