"""BCL: three steps of the authors' training, prototypes, what reaches which branch, two processes as one."""

import numpy as np
import pytest
import torch
from helpers.engine_parts import CPU, Constant, FixedBatches, Identity, Noisy, Vectors, one_process, stage, training
from helpers.golden_vectors import FOLDER, golden
from helpers.two_processes import on_two
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.errors import UsageError, keyed
from lt_bench.losses.bcl import balanced_contrastive
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.methods.bcl import BCL
from lt_bench.methods.two_branch import COSINE_SCALE
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

ARRAYS = {"rtol": 1e-5, "atol": 2e-6}
FIRST_LOSS, LATER_LOSS = {"rtol": 1e-9, "atol": 0}, {"rtol": 1e-5, "atol": 0}
MODULES = {"head": "head.layers", "head_fc": "prototype_head.layers", "fc": "classifier"}  # names in the authors' code
LABELS = torch.tensor([0, 0, 0, 0, 1, 2, 1, 3])  # the second half of the batch has other classes than the first


def renamed(state):
    """Tensors under the names of BCL, from those of the authors' code."""
    parts = {name: name.split("__", 1) for name in state}
    return {f"{MODULES[module]}.{rest.replace('__', '.')}": state[name] for name, (module, rest) in parts.items()}


def watch(method):
    """What heads and classifier give, one dictionary per forward pass; the classifier also of views 2 and 3."""
    passes = []

    def of_features(module, inputs, output):
        passes.append({"feat_mlp": output.detach(), "logits": method.classifier(inputs[0]).detach()})

    method.head.register_forward_hook(of_features)
    method.prototype_head.register_forward_hook(lambda module, inputs, output: passes[-1].update(centers=output))
    return passes


def authors_method(case):
    counts = case["cls_num_list"]
    info = TrainInfo(torch.repeat_interleave(torch.arange(len(counts)), counts), len(counts), 3)
    weights = {name: float(case[name]) for name in ("temperature", "alpha", "beta")}
    method = BCL(Identity(12), info, classifier="cosine", projection_hidden=None, projection_dim=6, **weights).double()
    method.log_prior = log_prior(counts)  # the buffer has single precision
    method.load_state_dict(renamed(golden("bcl_step", "init_")))
    return method


def authors_batches(case):
    size = int(case["batch_size"])
    for step in range(int(case["steps"])):
        views = [view.double().requires_grad_() for view in case[f"s{step}_encoder_out"].split(size)]
        yield Batch(tuple(views), case[f"s{step}_labels"], torch.arange(size))


def test_three_steps_of_the_real_method_and_engine_are_the_authors(tmp_path):
    with np.load(FOLDER / "bcl_step.npz") as arrays:
        case = {name: torch.from_numpy(array) for name, array in arrays.items()}
    method, batches = authors_method(case), list(authors_batches(case))
    assert float(case["scale"]) == COSINE_SCALE
    lr = float(case["lr"])
    settings = training(3, 8, lr, momentum=0.9, weight_decay=float(case["weight_decay"]))
    source = FixedBatches(batches)
    trainer = Trainer(method, source, settings, Constant(lr), one_process(source), stage(tmp_path))
    passes, terms, gradients = watch(method), [], []
    step = trainer._step

    def recorded(*words):
        terms.append(step(*words))
        gradients.append({name: parameter.grad.clone() for name, parameter in method.named_parameters()})
        return terms[-1]

    trainer._step = recorded
    trainer.fit()

    assert len(terms) == len(passes) == 3
    for index, (batch, found, losses) in enumerate(zip(batches, passes, terms, strict=True)):
        for name in ("feat_mlp", "logits", "centers"):
            torch.testing.assert_close(found[name], case[f"s{index}_{name}"], **ARRAYS)
        for name, authors in (("loss", "loss"), ("cross_entropy", "loss_ce"), ("contrastive", "loss_scl")):
            tolerance = LATER_LOSS if index else FIRST_LOSS
            torch.testing.assert_close(losses[name], case[f"s{index}_{authors}"], **tolerance)
        gradient = torch.cat([view.grad for view in batch.views])
        torch.testing.assert_close(gradient, case[f"s{index}_grad_encoder_out"].double(), **ARRAYS)
    expected = renamed(golden("bcl_step", "s0_grad_"))
    assert gradients[0].keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[0][name], gradient, **ARRAYS)

    state = method.state_dict()
    final = renamed(golden("bcl_step", "final_"))
    assert state.keys() == final.keys()
    for name, value in final.items():
        torch.testing.assert_close(state[name], value, **ARRAYS)
    method.eval()
    method.head(case["eval_encoder_out"].double())
    method.prototypes()
    for name, value in passes[-1].items():
        torch.testing.assert_close(value, case[f"eval_{name}"], **ARRAYS)


def a_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(len(LABELS), 6, generator=generator, dtype=torch.float64) for _ in range(3)]
    return Batch(tuple(view.requires_grad_() for view in views), LABELS, torch.arange(len(LABELS)))


def small(**settings):
    """A method in eval mode, whose batch norms have statistics and so mix no images."""
    torch.manual_seed(0)
    method = BCL(Vectors(), TrainInfo(LABELS, 4, 5), projection_hidden=7, projection_dim=5, **settings).double()
    for module in method.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return method.eval()


def terms_of(method, batch):
    return method(batch, 0, 0, one_process(FixedBatches([batch])))


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("rule", ["positives", "size"])
def test_the_loss_is_the_weighted_sum_of_its_parts(kind, rule):
    batch = a_batch()
    method = small(classifier=kind, own_class_denominator=rule, temperature=0.2, alpha=1.5, beta=0.4)
    found = terms_of(method, batch)
    first, *others = (method.encoder(view) for view in batch.views)
    logits = method.classifier(first)
    cross_entropy = logit_adjusted_cross_entropy(logits, LABELS, log_prior(torch.tensor([4, 2, 1, 1])).float(), 1.0)
    embeddings = torch.stack([method.head(view) for view in others], dim=1)
    contrastive = balanced_contrastive(embeddings, method.prototypes(), LABELS, 0.2, rule)
    torch.testing.assert_close(found["cross_entropy"], cross_entropy)
    torch.testing.assert_close(found["contrastive"], contrastive)
    torch.testing.assert_close(found["loss"], 1.5 * cross_entropy + 0.4 * contrastive)
    assert float(found["accuracy"]) == pytest.approx((logits.argmax(1) == LABELS).double().mean().item())
    assert [name for name, value in found.items() if value.requires_grad] == ["loss"]


def test_no_view_reaches_the_other_branch():
    gradients = {}
    for name, weights in (("contrastive", {"alpha": 0.0}), ("cross_entropy", {"beta": 0.0})):
        batch = a_batch()
        terms_of(small(**weights), batch)["loss"].backward()
        gradients[name] = [float(view.grad.abs().max()) for view in batch.views]
    first, *others = gradients["contrastive"]
    assert first == 0 and min(others) > 1e-3
    first, *others = gradients["cross_entropy"]
    assert first > 1e-3 and max(others) == 0


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_contrastive_part_trains_the_class_vectors_through_their_head(kind):
    method = small(classifier=kind, alpha=0.0)
    terms_of(method, a_batch())["loss"].backward()
    per_class = method.classifier.weight.grad if kind == "linear" else method.classifier.weight.grad.T
    assert per_class.shape == (4, 8) and bool((per_class.norm(dim=1) > 1e-6).all())
    if kind == "linear":
        assert float(method.classifier.bias.grad.abs().max()) == 0  # only the class vectors are pushed through
    assert all(bool(parameter.grad.any()) for parameter in method.prototype_head.parameters())


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_each_prototype_comes_from_its_own_class_vector_and_that_is_not_normalised(kind):
    method = small(classifier=kind)
    before = method.prototypes().detach()
    assert before.shape == (4, 5)
    torch.testing.assert_close(before.norm(dim=1), torch.ones(4, dtype=torch.float64))
    with torch.no_grad():
        (method.classifier.weight if kind == "linear" else method.classifier.weight.T)[2] *= 3
    moved = (method.prototypes() - before).norm(dim=1) > 1e-3
    assert moved.tolist() == [False, False, True, False]


def test_the_batch_norm_of_the_prototypes_sees_the_classes_as_its_batch():
    method = small().train()
    norm, weight = method.prototype_head.layers[1], method.classifier.weight
    mean = norm.running_mean.clone()
    method.prototypes()
    hidden = method.prototype_head.layers[0](weight)
    torch.testing.assert_close(norm.running_mean, 0.9 * mean + 0.1 * hidden.mean(0))
    assert int(norm.num_batches_tracked) == 1


def test_half_precision_gives_a_finite_loss_and_gradients():
    batch, method = a_batch(), small().float().train()
    views = tuple(view.detach().float() for view in batch.views)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = terms_of(method, Batch(views, batch.labels, batch.indices))
    found["loss"].backward()
    assert found["contrastive"].dtype == found["cross_entropy"].dtype == torch.float32
    assert all(bool(parameter.grad.isfinite().all()) for parameter in method.parameters())


def one_step(processes, folder):
    """Terms, gradients and weights of a step of the engine, for both classifiers."""
    found, source = {}, Noisy(a_batch().views[0].detach(), LABELS, scale=1)
    for kind in ("linear", "cosine"):
        run = EngineContext(processes, 0, source)
        method = small(classifier=kind)
        trainer = Trainer(method, source, training(1, 8), Constant(0.1), run, stage(folder))
        terms = trainer._step(next(trainer.batches(0)), 0, 0, 0.1)
        gradients = {f"gradient of {name}": parameter.grad for name, parameter in method.named_parameters()}
        found |= {f"{kind}: {name}": value for name, value in (terms | gradients | method.state_dict()).items()}
    return found


@pytest.mark.slow
def test_two_processes_have_the_loss_and_gradients_of_one_on_the_joined_batch(tmp_path):
    alone = one_step(Processes(0, 1, CPU), tmp_path)
    results = on_two(one_step)
    for result in results:
        assert result.keys() == alone.keys()
        for name, value in result.items():
            torch.testing.assert_close(value, alone[name], msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"alpha": -1.0}, {"beta": float("nan")}])
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(UsageError, match=f"set method.{next(iter(settings))}="), keyed("method"):
        small(**settings)


@pytest.mark.parametrize("name", ["bcl_resnet50_c1000", "bcl_resnet50_c8142"])
def test_heads_and_classifier_have_the_published_number_of_parameters(name):
    with np.load(FOLDER / "bcl_paco_backbones.npz") as arrays:
        published = dict(zip(arrays["names"].tolist(), arrays["params"].tolist(), strict=True))
    classes = int(name.rpartition("c")[2])
    info = TrainInfo(torch.arange(classes), classes, 1)
    method = BCL(Identity(2048), info, classifier="cosine", projection_hidden=None, projection_dim=1024)
    count = sum(parameter.numel() for parameter in method.parameters())
    assert count == published[name] - published["resnet50_encoder"]


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_recipes_are_those_of_the_public_ports(classes):
    config = validate(compose([f"dataset=cifar{classes}_lt", "method=bcl"]))
    assert (config.train.epochs, config.train.batch_size, config.train.lr) == (200, 256, 0.15)
    assert (config.train.optimizer["momentum"], config.train.optimizer["weight_decay"]) == (0.9, 5e-4)
    values = {name: config.method[name] for name in ("temperature", "alpha", "beta", "classifier")}
    assert values == {"temperature": 0.1, "alpha": 2.0, "beta": 0.6, "classifier": "linear"}
    assert config.method["views"] == ["autoaugment_cutout", "sim_blur", "sim_blur"]
    assert config.stage_two.name == "none"
    schedule = build(config.train.schedule, "train.schedule")
    rates = torch.tensor([schedule(epoch, 0, 40) for epoch in range(200)], dtype=torch.float64)
    torch.testing.assert_close(rates, golden("lr_schedules", "bcl_cifar")["200"].double(), rtol=1e-6, atol=0)


def test_class_weights_are_in_the_cross_entropy_alone():
    weighted, plain, run = small(class_weight_beta=0.9).eval(), small().eval(), one_process(None)
    found, before = weighted(a_batch(), 0, 0, run), plain(a_batch(), 0, 0, run)
    weights = effective_number_weights(torch.bincount(LABELS), 0.9)
    logits = plain.branches(a_batch(), run).logits
    expected = logit_adjusted_cross_entropy(logits, LABELS, plain.log_prior, 1.0, weights)
    torch.testing.assert_close(found["cross_entropy"], expected.detach(), rtol=1e-6, atol=0)
    assert torch.equal(found["contrastive"], before["contrastive"])
    assert not torch.allclose(found["cross_entropy"], before["cross_entropy"])
    assert weighted.state_dict().keys() == plain.state_dict().keys()
