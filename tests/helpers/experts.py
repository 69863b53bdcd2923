"""Networks with experts whose weights are those of the golden files, and what they are compared with."""

from __future__ import annotations

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


def fresh_statistics(network: nn.Module) -> None:
    """Running statistics as before the first step."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()


def by_expert(features: Tensor, experts: int) -> Tensor:
    """Features (B, K D) as the golden files have them, (K, B, D)."""
    return torch.stack(features.chunk(experts, dim=1))


def _ours(name: str) -> str:
    """The name in a method of what the authors' code of RIDE, SADE and BalPoE calls so."""
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


def follow(file: str, kind: Any, tmp_path: Any, buffers: dict[str, Tensor], mixing: Any = None, **options: Any) -> None:
    """Train a method along a golden trace by the engine's own steps, and compare what the file stores.

    ``buffers`` is what the method keeps in single precision. One step is one epoch.
    """
    case, size = golden(file), lambda name: [int(number) for number in case[name].flatten()]
    (steps,), (offset,), (experts,), (batch,), (side,) = map(
        size, ("steps", "input_offset", "num_experts", "batch", "size")
    )
    labels = torch.repeat_interleave(torch.arange(len(case["counts"])), case["counts"].long())
    encoder = CifarResNet(size("blocks"), [16, *size("widths")], "padding", "kaiming_fan_in")
    info = TrainInfo(labels, len(case["counts"]), 200)
    method = kind(encoder, info, experts=Experts(experts), mixing=mixing, **options).double().train()
    fill(method.encoder, method.classifier)
    fresh_statistics(method)
    for name, value in buffers.items():
        method.get_buffer(name).copy_(value)
    shape = (batch, 3, side, side)
    batches = [
        Batch((hashed(offset + 100000 * step, shape),), case[f"s{step}_labels"].long(), torch.arange(batch))
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
        if step == 0:
            _compare(case, names, "s0_grad", {key: one.grad for key, one in method.named_parameters()})
    _compare(case, names, "final", method.state_dict())
    with torch.no_grad():
        features = method.eval().encoder(hashed(offset + 9_000_000, (4, 3, side, side)))
    torch.testing.assert_close(logits_of(features).transpose(0, 1), case["eval_expert_logits"], **ARRAY)
    torch.testing.assert_close(method.classifier(features).detach(), case["eval_logits"], **ARRAY)
