"""Traces of small supervised methods: the authors' training loop on a network of one convolution, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from helpers.engine_parts import Constant, FixedBatches, Pictures, one_process, stage
from helpers.golden_vectors import golden
from lt_bench.config.schema import Training
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.losses.gaussian_cloud import GaussianClouds
from lt_bench.methods.mixing import Draw, Mixing

LOSS = {"rtol": 1e-8, "atol": 0.0}
ARRAY = {"rtol": 1e-5, "atol": 2e-6}
FINAL = {"rtol": 1e-5, "atol": 5e-6}


class Step(NamedTuple):
    """One step of a trace: its epoch, rate, batch and the loss that it is to have."""

    epoch: int
    lr: float
    batch: Batch
    loss: Tensor


def steps(case: dict[str, Tensor], epochs: list[int] | None = None) -> Iterator[Step]:
    """The steps of a trace, whose epochs are its own unless given."""
    epochs = case["epochs"].tolist() if epochs is None else epochs
    for number, epoch in enumerate(epochs):
        batch, of_step = None, f"s{number}"
        if f"{of_step}_order" in case:
            batch = _rows(case, case[f"{of_step}_order"])
            if f"{of_step}_partner_order" in case:
                batch = batch._replace(partner=_rows(case, case[f"{of_step}_partner_order"]))
        elif f"{of_step}_batch" in case:
            batch = _stored(case, f"b{int(case[f'{of_step}_batch'])}")
        else:  # batches may come again in a later epoch
            batch = _stored(case, f"s{number % sum(name.endswith('_labels') for name in case)}")
        # the last rate is that of the group whose factor is 1
        yield Step(epoch, float(case[f"{of_step}_lr"].flatten()[-1]), batch, case[f"{of_step}_loss"])


def _rows(case: dict[str, Tensor], order: Tensor) -> Batch:
    return _batch(case["images"][order], case["labels"][order])


def _stored(case: dict[str, Tensor], place: str) -> Batch:
    if f"{place}_images" in case:
        return _batch(case[f"{place}_images"], case[f"{place}_labels"])
    own, partner = (
        _batch(case[f"{of}_first_images"], case[f"{of}_labels"], case[f"{of}_second_images"])
        for of in (place, f"{place}_partner")
    )
    return own._replace(partner=partner)


def _batch(images: Tensor, labels: Tensor, *further: Tensor) -> Batch:
    return Batch(tuple(view.double() for view in (images, *further)), labels, torch.arange(len(labels)))


def as_drawn(monkeypatch: Any, case: dict[str, Tensor], height: int = 8) -> None:
    """Let mixing draw what the trace of a file has drawn, step by step."""

    def draw(self: Mixing, epoch: int, step: int, context: Any) -> Draw:
        mixed = bool(case.get(f"s{step}_mixed", torch.tensor(True)))
        share = case.get(f"s{step}_lam_drawn", case.get(f"s{step}_lam", torch.tensor(1.0)))
        row, column = case.get(f"s{step}_center", torch.zeros(2)).tolist()
        return Draw(mixed, float(share), (row + 0.5) / height, (column + 0.5) / height)

    monkeypatch.setattr(Mixing, "draw", draw)
    monkeypatch.setattr(Mixing, "partners", lambda self, count, epoch, step, run: case[f"s{step}_permutation"])


def as_clouded(monkeypatch: Any, case: dict[str, Tensor]) -> None:
    """Let the noise of clouded logits be that of a trace: in each step for own labels, then for others'."""
    stored = iter([case[f"s{number}_noise_{of}"] for number in range(int(case["steps"])) for of in "ab"])
    monkeypatch.setattr(GaussianClouds, "noise", lambda self, like: next(stored).double().clamp(-1, 1).abs())


def follow(
    file: str,
    kind: Any,
    tmp_path: Any,
    epochs: list[int] | None = None,
    buffers: Callable[[Tensor], dict[str, Tensor]] = lambda _: {},
    before: Callable[[Any, Step], None] = lambda method, step: None,
    eval_scale: float = 1.0,
    length: int = 200,
    names: dict[str, str] | None = None,
    **options: Any,
) -> None:
    """Train a method along a golden trace by the engine's own steps, and compare losses, gradients and weights.

    ``buffers`` makes from the counts of the classes what the method keeps in single precision; ``before`` is what the
    authors' code does before a step; ``eval_scale`` is that of our logits, where theirs are cosines; ``length`` is that
    of the training in epochs; ``names`` are ours of their heads.
    """
    case = golden(file)
    labels = torch.repeat_interleave(torch.arange(len(case["counts"])), case["counts"].long())
    method = kind(Pictures(6), TrainInfo(labels, len(case["counts"]), length), **options).double()
    start, own = state(case, "init", names), method.state_dict()
    assert own.keys() - start.keys() <= {"classifier.scales"}  # ones
    method.load_state_dict({**own, **start})
    for name, value in buffers(case["counts"]).items():
        method.get_buffer(name).copy_(value)
    trace = [*steps(case, epochs)]
    batches = [step.batch for step in trace]
    optimizer = {"momentum": float(case["momentum"]), "weight_decay": float(case["weight_decay"])}
    settings = Training(epochs=length, batch_size=len(batches[0].labels), lr=0.1, optimizer=optimizer)
    source = FixedBatches(batches, labels)
    trainer = Trainer(method, source, settings, lambda _: Constant(0.1), one_process(source), stage(tmp_path))
    method.train()
    for number, (step, batch) in enumerate(zip(trace, batches, strict=True)):
        before(method, step)
        terms = trainer._step(batch, step.epoch, number, step.lr)
        torch.testing.assert_close(terms["loss"], step.loss, **LOSS)
        if number == 0:
            for name, value in state(case, "s0_grad", names).items():
                gradient = method.get_parameter(name).grad
                torch.testing.assert_close(gradient, value.view_as(gradient), **ARRAY)
    for name, value in state(case, "final", names).items():
        found = method.state_dict()[name]
        torch.testing.assert_close(found, value.view_as(found), **FINAL)
    if "eval_logits" not in case:
        return
    method.eval()
    images = case.get("eval_images", case.get("images"))
    with torch.no_grad():
        logits = method.classifier(method.encoder(images.double())) / eval_scale
        torch.testing.assert_close(logits, case["eval_logits"], **ARRAY)


def state(case: dict[str, Tensor], beginning: str, names: dict[str, str] | None = None) -> dict[str, Tensor]:
    """The state of a method in a trace, under our names; what is no head is of the encoder."""
    heads, found = names or {"classifier": "classifier"}, {}
    for stored, value in case.items():
        if stored.startswith(f"{beginning}__"):
            key = stored.removeprefix(f"{beginning}__").replace("__", ".")
            part, _, end = key.rpartition(".")
            ours = next((own for theirs, own in heads.items() if theirs in (part, key)), None)
            place = f"{ours}.{end}" if ours and part else ours or f"encoder.{key}"
            found[place] = value.double() if value.is_floating_point() else value
    return found
