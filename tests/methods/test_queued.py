"""PaCo, GPaCo and its multi-task baseline: the authors' training steps, the queue, several processes."""

import numpy as np
import pytest
import torch
from helpers.engine_parts import (
    CPU,
    INPUTS,
    LABELS,
    Constant,
    FixedBatches,
    Noisy,
    Pictures,
    Vectors,
    one_process,
    stage,
    training,
)
from helpers.golden_vectors import FOLDER
from helpers.two_processes import on_two

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.errors import UsageError, keyed
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.paco import official_log_prior
from lt_bench.methods.gpaco import GPaCo
from lt_bench.methods.gpaco_multitask import GPaCoMultiTask
from lt_bench.methods.paco import PaCo

METHODS = [PaCo, GPaCo, GPaCoMultiTask]
FIRST = {"rtol": 1e-5, "atol": 2e-6}
LATER = {"rtol": 1e-5, "atol": 5e-6}


# where the parts of the authors' modules are in ours; their copy of the classifier has no counterpart
PLACES = {
    "encoder_q__fc__": "head.layers.",
    "encoder_q__": "encoder.",
    "encoder_k__fc__": "momentum_encoder.layers.1.layers.",
    "encoder_k__": "momentum_encoder.layers.0.",
    "linear__": "classifier.",
    "queue_ptr": "queue.pointer",
    "queue_l": "queue.labels",
    "queue": "queue.rows",
}


def state(case, moment):
    found = {}
    for name in case:
        theirs = name.removeprefix(f"{moment}__")
        if theirs != name and not theirs.startswith("linear_k__"):
            begin = next(begin for begin in PLACES if theirs.startswith(begin))
            ours = PLACES[begin] + theirs.removeprefix(begin).replace("__", ".")
            found[ours] = case[name].squeeze(0) if begin == "queue_ptr" else case[name]
    return found


@pytest.mark.parametrize(("file", "kind"), [("paco_step", PaCo), ("gpaco_step", GPaCo)])
def test_four_steps_of_the_real_method_and_engine_are_the_authors(file, kind, tmp_path):
    with np.load(FOLDER / f"{file}.npz") as arrays:
        case = {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
    steps, size, lr = int(case["steps"]), int(case["batch_size"]), float(case["lr"])
    calls = []

    class Recorded(kind):
        def loss(self, logits, embeddings, labels):
            loss = super().loss(logits, embeddings, labels)
            calls.append((embeddings.detach(), labels, logits.detach(), loss.detach()))
            return loss

    info = TrainInfo(torch.arange(5).repeat_interleave(case["cls_num_list"]), 5, steps)
    options = {"alpha": float(case["alpha"]), "temperature": float(case["temperature"])}
    options |= {"queue_size": int(case["queue_size"]), "projection_dim": int(case["dim"]), "official_epsilon": True}
    if kind is PaCo:
        options["momentum"] = float(case["ema"])
    method = Recorded(Pictures(6), info, **options).double()
    method.load_state_dict(state(case, "init"))

    def batch(step):
        views = tuple(case[f"s{step}_{view}"].double() for view in ("im_q", "im_k"))
        return Batch(views, case[f"s{step}_labels"], torch.arange(size))

    source = FixedBatches([batch(step) for step in range(steps)], torch.zeros(size, dtype=torch.int64))
    settings = training(steps, size, lr, momentum=0.9, weight_decay=float(case["weight_decay"]))
    trainer = Trainer(method, source, settings, Constant(lr), one_process(source), stage(tmp_path))
    queues = []
    take = trainer._step

    def watched(*words):
        terms = take(*words)
        queues.append([value.clone() for value in (method.queue.rows, method.queue.labels, method.queue.pointer)])
        return terms

    trainer._step = watched
    trainer.fit()
    assert len(calls) == len(queues) == steps
    for step, (embeddings, labels, logits, loss) in enumerate(calls):
        tolerance = FIRST if step == 0 else LATER
        torch.testing.assert_close(embeddings, case[f"s{step}_features"].double(), **tolerance)
        assert torch.equal(labels, case[f"s{step}_target"])
        torch.testing.assert_close(logits, case[f"s{step}_logits"], **tolerance)
        torch.testing.assert_close(loss, case[f"s{step}_loss"], rtol=1e-6, atol=0)
        torch.testing.assert_close(queues[step][0], case[f"s{step}_queue_after"], **tolerance)
        assert torch.equal(queues[step][1], case[f"s{step}_queue_l_after"])
        assert queues[step][2] == case[f"s{step}_queue_ptr_after"][0]
    final = state(case, "final")
    assert final.keys() == method.state_dict().keys()
    for name, value in method.state_dict().items():
        torch.testing.assert_close(value, final[name], **LATER, msg=lambda text, name=name: f"{name}: {text}")
    logits = method.eval().classifier(method.encoder(case["eval_images"].double()))
    torch.testing.assert_close(logits, case["eval_logits"], **LATER)


def build(kind, **options):
    torch.manual_seed(0)
    return kind(Vectors(), TrainInfo(LABELS, 3, 5), **({"queue_size": 12, "projection_dim": 5} | options))


def batch_of(indices, seed=0):
    noise = torch.randn(len(indices), 6, generator=torch.Generator().manual_seed(seed))
    return Batch((INPUTS[indices], INPUTS[indices] + 0.1 * noise), LABELS[indices], indices)


def step_of(method, batch):
    """Loss and gradients of one step."""
    terms = method(batch, 0, 0, one_process(FixedBatches([batch])))
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    return terms["loss"].detach(), *torch.autograd.grad(terms["loss"], trained)


@pytest.mark.parametrize("kind", METHODS)
def test_a_step_leaves_out_the_queue_until_it_is_written_and_then_sees_its_second_views(kind):
    calls = []

    class Recorded(kind):
        def loss(self, logits, embeddings, labels):
            calls.append((embeddings.detach(), labels))
            return super().loss(logits, embeddings, labels)

    method = build(Recorded)
    first, second = torch.arange(8), torch.arange(8, 16)
    for indices in (first, second):
        step_of(method, batch_of(indices))
    (rows, labels), (next_rows, next_labels) = calls
    assert torch.equal(labels, torch.cat([LABELS[first], LABELS[first], torch.full((12,), -1)]))
    # as it was before this batch: only the first batch's second views, the rest still missing
    assert torch.equal(next_labels, torch.cat([LABELS[second], LABELS[second], LABELS[first], torch.full((4,), -1)]))
    assert torch.equal(next_rows[16:24], rows[8:16])
    torch.testing.assert_close(rows[:16].norm(dim=1), torch.ones(16))
    assert int(method.queue.pointer) == 4  # of 12, after 16


@pytest.mark.parametrize("kind", METHODS)
def test_what_stands_in_entries_that_were_never_written_has_no_influence(kind):
    results = []
    for noise in (0.0, 5.0):
        method = build(kind, official_epsilon=True)
        step_of(method, batch_of(torch.arange(8)))
        method.queue.rows[8:] = noise
        results.append(step_of(method, batch_of(torch.arange(8, 16))))
    assert all(torch.equal(left, right) for left, right in zip(*results, strict=True))


@pytest.mark.parametrize("kind", METHODS)
def test_the_order_of_the_images_does_not_matter(kind):
    indices = torch.randperm(26, generator=torch.Generator().manual_seed(3))
    batch = batch_of(torch.arange(26))
    batch = batch._replace(views=tuple(view.double() for view in batch.views))
    permuted = Batch(tuple(view[indices] for view in batch.views), batch.labels[indices], indices)
    left, right = (step_of(build(kind).double(), one) for one in (batch, permuted))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 1], [2, 2, 0, 0]])
def test_absent_classes_and_classes_of_one_image(kind, labels):
    method = build(kind)
    batch = batch_of(torch.arange(4))._replace(labels=torch.tensor(labels))
    for _ in range(3):
        assert all(bool(value.isfinite().all()) for value in step_of(method, batch))


@pytest.mark.parametrize("kind", METHODS)
def test_a_batch_larger_than_the_queue(kind):
    method, batch = build(kind, queue_size=5), batch_of(torch.arange(26))
    for _ in range(2):
        assert all(bool(value.isfinite().all()) for value in step_of(method, batch))
    assert torch.equal(method.queue.labels.roll(-2), LABELS[21:26])  # 52 entries written to a ring of 5


@pytest.mark.parametrize("kind", METHODS)
def test_finite_under_bfloat16_autocast(kind):
    method = build(kind)
    for seed in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, *gradients = step_of(method, batch_of(torch.arange(16), seed))
        assert loss.dtype == torch.float32
        assert all(bool(value.isfinite().all()) for value in (loss, *gradients))


@pytest.mark.parametrize("kind", METHODS)
def test_prior_and_its_official_form(kind):
    counts = torch.bincount(LABELS)
    torch.testing.assert_close(build(kind).log_prior.double(), log_prior(counts))
    torch.testing.assert_close(build(kind, official_epsilon=True).log_prior.double(), official_log_prior(counts))
    assert not build(kind, prior=False).log_prior.any()


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(
    "options",
    [{"views": ("crop_flip",)}, {"in_batch": "both"}, {"queue_size": 0}, {"queue_init": "x"}, {"temperature": 0.0}],
)
def test_impossible_options_are_refused(kind, options):
    with pytest.raises(UsageError, match=r"method\.\w+ is .*; set method\.\w+="), keyed("method"):
        build(kind, **options)


# two processes


class PlainPaCo(PaCo):
    """Without batch norm in the head, so that a batch may be shared out without a difference."""

    batch_norm = False


PLAIN = {"paco": PlainPaCo, "gpaco": GPaCo, "gpaco_multitask": GPaCoMultiTask}


def train(name, processes, folder, in_batch="global"):
    """The state after sixteen steps, and the first step's loss."""
    source, method = Noisy(INPUTS.double()), build(PLAIN[name], in_batch=in_batch).double()
    losses = []
    plain = method.loss
    method.loss = lambda *words: losses.append(plain(*words)) or losses[-1]
    run = EngineContext(processes, 3, source)
    Trainer(method, source, training(4, 8, lr=0.05, momentum=0.9), Constant(0.05), run, stage(folder)).fit()
    return {**method.state_dict(), "first loss": losses[0].detach()}


def task(processes, folder):
    results = {}
    for name in PLAIN:
        for in_batch in ("global", "local"):
            own = folder / f"{name}_{in_batch}_{processes.rank}"
            own.mkdir()
            results[f"{name} {in_batch}"] = train(name, processes, own, in_batch)
    return results


@pytest.fixture(scope="module")
def both_ranks():
    """What both ranks have, by method and ``in_batch``."""
    return on_two(task)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_two_processes_train_as_one_on_the_joined_batch(name, both_ranks, tmp_path):
    """Loss, queue, labels, pointer, and the weights that sixteen gradients lead to."""
    alone = train(name, Processes(0, 1, CPU), tmp_path)
    for results in both_ranks:
        found = results[f"{name} global"]
        assert found.keys() == alone.keys()
        for key, value in found.items():
            torch.testing.assert_close(
                value, alone[key], rtol=1e-9, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}"
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_a_local_loss_sees_its_own_images_and_the_queue_of_all(name, both_ranks, tmp_path):
    first, second = (results[f"{name} local"] for results in both_ranks)
    for key, value in first.items():
        assert key == "first loss" or torch.equal(value, second[key])
    run, method = EngineContext(Processes(0, 1, CPU), 3, Noisy(INPUTS.double())), build(PLAIN[name])
    order = Trainer(method, Noisy(INPUTS.double()), training(4, 8), Constant(0.05), run, stage(tmp_path)).order(0)
    for rank, found in enumerate((first, second)):
        rows = slice(4 * rank, 4 * rank + 4)
        share = Noisy(INPUTS.double()).batch(order[:8], rows, method.views, run.generator("augment", 0, 0))
        torch.testing.assert_close(step_of(build(PLAIN[name]).double(), share)[0], found["first loss"])
    joined = both_ranks[0][f"{name} global"]
    assert not torch.allclose(first["queue.rows"], joined["queue.rows"])
