"""ProCo: the authors' epochs through the real method, both sets of statistics, both branches, two processes as one."""

import pytest
import torch
import torch.nn.functional as F
from helpers.engine_parts import CPU, Constant, Identity, Noisy, Vectors, one_process, stage, training
from helpers.golden_vectors import golden
from helpers.two_processes import on_two

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.errors import SettingError, UsageError, keyed
from lt_bench.geometry.vmf import mean_direction_and_kappa, random_means, update_means
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from lt_bench.losses.proco import contrastive_logits
from lt_bench.methods.proco import CURRENT, USED, ProCo
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

ARRAYS = {"rtol": 1e-5, "atol": 2e-6}
CLEAN = {"loss": (1e-3, 0.0), "grad": (1e-2, 1e-3)}  # beside the authors' recurrence, which is not exact
OFFICIAL = {"loss": (1e-6, 1e-6), "grad": (1e-6, 1e-6)}
LABELS = torch.tensor([0, 0, 0, 0, 1, 2, 1, 3])  # the second half of the batch has other classes than the first


def authors_method(vectors, **settings):
    counts, dim = vectors["cls_num_list"], int(vectors["dim"])
    info = TrainInfo(torch.repeat_interleave(torch.arange(len(counts)), counts), len(counts), int(vectors["epochs"]))
    weights = {name: float(vectors[name]) for name in ("temperature", "alpha")}
    method = ProCo(Identity(dim), info, projection_dim=dim, **weights, **settings).double()
    method.head = Identity(dim)
    method.log_prior = log_prior(counts)  # the buffer has single precision
    method.means[CURRENT] = vectors["init_mean_current"]
    return method


@pytest.mark.parametrize(("bessel", "tolerance"), [("asymptotic", CLEAN), ("official", OFFICIAL)])
@pytest.mark.parametrize("case", ["proco_loss_a", "proco_loss_b", "proco_loss_c"])
def test_the_authors_epochs_through_the_real_method(case, bessel, tolerance):
    vectors = golden(case)
    method, run = authors_method(vectors, bessel=bessel), one_process(None)
    for epoch in range(int(vectors["epochs"])):
        method.on_epoch_start(epoch, run)
        method.means[CURRENT] = vectors[f"e{epoch}_reset_mean"]  # instead of what was drawn
        for step in range(int(vectors["steps_per_epoch"])):
            expected = golden(case, f"e{epoch}s{step}")
            views = [expected[f"view{number}"].double().requires_grad_() for number in (1, 2)]
            batch = Batch((torch.zeros_like(views[0]), *views), expected["labels"], torch.arange(len(views[0])))
            terms = method(batch, epoch, step, run)
            rtol, atol = tolerance["loss"]
            torch.testing.assert_close(terms["contrastive"], expected["loss"], rtol=rtol, atol=atol)
            rtol, atol = tolerance["grad"]
            for view, name in zip(torch.autograd.grad(terms["loss"], views), ("grad_view1", "grad_view2"), strict=True):
                torch.testing.assert_close(view, expected[name].double(), rtol=rtol, atol=atol)
            _, kappa = mean_direction_and_kappa(method.means[USED])
            torch.testing.assert_close(kappa, expected["kappa_after_view2"], **ARRAYS)
            for which, name in ((USED, "count_used_after"), (CURRENT, "count_current_after")):
                torch.testing.assert_close(method.counts[which], expected[name], **ARRAYS)
        for which, name in ((USED, "mean_used_end"), (CURRENT, "mean_current_end")):
            torch.testing.assert_close(method.means[which], vectors[f"e{epoch}_{name}"].double(), **ARRAYS)


def small(**settings):
    """In evaluation, where the batch norm of the head treats every image and every rank alike."""
    torch.manual_seed(0)
    settings = {"projection_hidden": 7, "projection_dim": 6} | settings
    return ProCo(Vectors(), TrainInfo(LABELS, 4, 5), **settings).double().eval()


def a_batch(labels=LABELS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(len(labels), 6, generator=generator, dtype=torch.float64) for _ in range(3)]
    return Batch(tuple(view.requires_grad_() for view in views), labels, torch.arange(len(labels)))


def terms_of(method, batch):
    return method(batch, 0, 0, one_process(None))


@pytest.mark.parametrize("estimator", ["code", "sra"])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_loss_is_the_sum_of_its_parts_and_the_second_view_sees_the_first(kind, estimator):
    batch, method = a_batch(), small(classifier=kind, temperature=0.2, alpha=0.7, kappa_estimator=estimator)
    means, counts = method.means.clone(), method.counts.clone()
    found = terms_of(method, batch)
    first, *others = (method.encoder(view) for view in batch.views)
    prior, logits = log_prior(torch.tensor([4, 2, 1, 1])).float(), method.classifier(first)
    cross_entropy = logit_adjusted_cross_entropy(logits, LABELS, prior, 1.0)
    losses = []
    for view in others:
        embeddings = method.head(view)
        update_means(means, counts, embeddings.detach(), LABELS)
        directions, kappa = mean_direction_and_kappa(means[USED], estimator)
        contrastive = contrastive_logits(embeddings, directions, kappa, 0.2)
        losses.append(logit_adjusted_cross_entropy(contrastive, LABELS, prior, 1.0))
    torch.testing.assert_close(found["cross_entropy"], cross_entropy)
    torch.testing.assert_close(found["contrastive"], (losses[0] + losses[1]) / 2)
    torch.testing.assert_close(found["loss"], cross_entropy + 0.7 * (losses[0] + losses[1]) / 2)
    torch.testing.assert_close((method.means, method.counts), (means, counts))
    assert float(found["accuracy"]) == pytest.approx((logits.argmax(1) == LABELS).double().mean().item())
    assert [name for name, value in found.items() if value.requires_grad] == ["loss"]


def test_no_view_reaches_the_other_branch():
    batch, method = a_batch(), small(alpha=0.0)
    terms_of(method, batch)["loss"].backward()
    first, *others = (float(view.grad.abs().max()) for view in batch.views)
    assert first > 1e-3 and max(others) == 0
    batch, method = a_batch(), small()
    (terms_of(method, batch)["loss"] - terms_of(small(alpha=0.0), batch)["loss"]).backward()
    first, *others = (float(view.grad.abs().max()) for view in batch.views)
    assert first < 1e-12 and min(others) > 1e-3


def test_an_epoch_uses_the_statistics_of_the_last_and_goes_on_with_them():
    method, run = small(), one_process(None, seed=5)
    start = method.means.clone()
    method.on_epoch_start(0, run)
    assert torch.equal(method.means[USED], start[CURRENT]) and not method.counts.any()
    drawn = random_means(4, 6, run.generator("proco", 0)).double()
    assert torch.equal(method.means[CURRENT], drawn)
    assert not torch.allclose(drawn, random_means(4, 6, run.generator("proco", 1)).double())
    terms_of(method, a_batch())
    kept = method.means[CURRENT].clone()
    assert method.counts.tolist() == [[8, 4, 2, 2]] * 2  # two views
    method.on_epoch_start(1, run)
    assert torch.equal(method.means[USED], kept) and method.counts.tolist() == [[8, 4, 2, 2], [0] * 4]
    terms_of(method, a_batch(seed=1))
    assert method.counts.tolist() == [[16, 8, 4, 4], [8, 4, 2, 2]]


def test_at_the_end_of_an_epoch_every_mean_is_that_of_all_embeddings_of_the_epoch():
    method, run = small(), one_process(None)
    method.on_epoch_start(0, run)
    batches = [a_batch(seed=seed) for seed in range(3)]
    for batch in batches:
        terms_of(method, batch)
    seen = torch.cat([method.head(method.encoder(view)) for batch in batches for view in batch.views[1:]])
    labels = LABELS.repeat(6)
    for label in range(4):
        expected = seen[labels == label].mean(0).expand(2, -1)
        torch.testing.assert_close(method.means[:, label], expected)


def test_the_order_of_a_batch_changes_neither_loss_nor_statistics():
    order = torch.tensor([5, 2, 7, 0, 1, 6, 4, 3])
    batch = a_batch()
    moved = Batch(tuple(view[order] for view in batch.views), LABELS[order], batch.indices)
    methods = small(), small()
    losses = [terms_of(method, one)["loss"] for method, one in zip(methods, (batch, moved), strict=True)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*[dict(method.state_dict()) for method in methods])


@pytest.mark.parametrize("unseen", ["random", "masked"])
def test_classes_without_images_so_far_compete_unless_they_are_masked(unseen):
    batch, method = a_batch(torch.tensor([0, 0, 1, 1])), small(unseen=unseen)
    start = method.means.clone()
    found = terms_of(method, batch)
    assert torch.equal(method.means[:, 2:], start[:, 2:]) and not method.counts[:, 2:].any()
    found["loss"].backward()
    assert bool(found["loss"].isfinite()) and all(bool(view.grad.isfinite().all()) for view in batch.views)
    # far away and dense, they no longer count: the loss of the masked ones does not know
    other = small(unseen=unseen)
    other.means[:, 2:] = 0.999 * F.normalize(other.means[:, 2:], dim=2)
    same = torch.allclose(terms_of(other, batch)["contrastive"], found["contrastive"], rtol=1e-12)
    assert same == (unseen == "masked")


def test_masked_is_random_where_every_class_has_been_seen():
    losses = [terms_of(small(unseen=unseen), a_batch())["loss"] for unseen in ("random", "masked")]
    torch.testing.assert_close(*losses)


def test_single_images_in_single_precision_give_a_finite_loss_and_gradients():
    method, labels = small(projection_dim=33).float().train(), torch.tensor([3, 0, 1, 2])
    batch = a_batch(labels)
    found = terms_of(method, Batch(tuple(view.detach().float() for view in batch.views), labels, batch.indices))
    found["loss"].backward()
    assert bool(found["loss"].isfinite())
    assert all(bool(parameter.grad.isfinite().all()) for parameter in method.parameters())


def test_half_precision_gives_a_finite_loss_and_gradients():
    batch, method = a_batch(), small(projection_dim=64).float().train()
    views = tuple(view.detach().float() for view in batch.views)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = terms_of(method, Batch(views, batch.labels, batch.indices))
    found["loss"].backward()
    assert found["contrastive"].dtype == found["cross_entropy"].dtype == method.means.dtype == torch.float32
    assert all(bool(parameter.grad.isfinite().all()) for parameter in method.parameters())


def test_the_statistics_are_state_and_start_at_random():
    method = small()
    assert {"means", "counts"} <= method.state_dict().keys() and "log_prior" not in method.state_dict()
    torch.testing.assert_close(method.means.norm(dim=2), torch.full((2, 4), 0.9, dtype=torch.float64))
    torch.manual_seed(1)
    other = ProCo(Vectors(), TrainInfo(LABELS, 4, 5), projection_dim=6)
    assert not torch.allclose(other.means.double(), method.means)
    again = small()
    terms_of(method, a_batch())
    again.load_state_dict(method.state_dict())
    torch.testing.assert_close(terms_of(again, a_batch(seed=2)), terms_of(method, a_batch(seed=2)))


def an_epoch(processes, folder):
    """Terms, gradients, weights and statistics of two epochs of the engine, of one step each."""
    source, found = Noisy(a_batch().views[0].detach(), LABELS, scale=1), {}
    run, method = EngineContext(processes, 0, source), small()
    trainer = Trainer(method, source, training(2, 8), Constant(0.1), run, stage(folder))
    for epoch in (0, 1):
        method.on_epoch_start(epoch, run)
        terms = trainer._step(next(trainer.batches(epoch)), epoch, 0, 0.1)
        gradients = {f"gradient of {name}": parameter.grad for name, parameter in method.named_parameters()}
        values = terms | gradients | method.state_dict()
        found |= {f"{epoch}: {name}": value.clone() for name, value in values.items()}
    return found


@pytest.mark.slow
def test_two_processes_have_the_loss_and_statistics_of_one_on_the_joined_batch(tmp_path):
    alone = an_epoch(Processes(0, 1, CPU), tmp_path)
    results = on_two(an_epoch)
    assert alone["1: counts"].tolist() == [[16, 8, 4, 4], [8, 4, 2, 2]]
    for name, value in alone.items():
        for result in results:
            torch.testing.assert_close(result[name], value, msg=lambda text, name=name: f"{name}: {text}")
        assert torch.equal(results[0][name], results[1][name]), name
    assert results[0].keys() == results[1].keys() == alone.keys()


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"alpha": -1.0}, {"alpha": float("nan")}, {"unseen": "dropped"}]
)
def test_values_out_of_range_are_refused(settings):
    (name,) = settings
    with pytest.raises(UsageError, match=rf"method\.{name}="), keyed("method"):
        small(**settings)


@pytest.mark.parametrize("settings", [{"bessel": "exact"}, {"kappa_estimator": "guess"}])
def test_unknown_words_are_refused(settings):
    (name,) = settings
    with pytest.raises(SettingError, match=" is .*, not '"):
        terms_of(small(**settings), a_batch())


@pytest.mark.parametrize("name", ["bessel", "kappa_estimator", "unseen", "classifier"])
def test_a_config_with_an_unknown_word_is_refused_before_anything_runs(name):
    with pytest.raises(UsageError, match=rf"method\.{name}"):
        validate(compose(["method=proco", f"method.{name}=guess"]))


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize(("scale", "epochs"), [(1, 200), (0.5, 100)])
def test_cifar_recipes_are_the_authors_for_any_number_of_epochs(classes, scale, epochs):
    config = validate(compose([f"dataset=cifar{classes}_lt", "method=proco", f"budget.epoch_scale={scale}"]))
    assert (config.train.epochs, config.train.batch_size, config.train.lr) == (epochs, 256, 0.3)
    assert (config.train.optimizer["momentum"], config.train.optimizer["weight_decay"]) == (0.9, 2e-4)
    assert config.train.drop_last and config.stage_two.name == "none"
    names = ("temperature", "alpha", "classifier", "projection_hidden", "projection_dim", "bessel")
    assert [config.method[name] for name in names] == [0.1, 1.0, "linear", 512, 128, "asymptotic"]
    assert config.method["views"] == ["autoaugment_cutout", "sim_wide", "sim_wide"]
    schedule = build(config.train.schedule, "train.schedule")
    rates = torch.tensor([schedule(epoch, 0, 40) for epoch in range(epochs)], dtype=torch.float64)
    expected = golden("lr_schedules", "proco_cifar")[str(epochs)].double()
    torch.testing.assert_close(rates, expected, rtol=1e-6, atol=0)


def test_official_fidelity_brings_the_authors_recurrence_and_nothing_else():
    clean, official = (validate(compose(["method=proco", f"fidelity={name}"])) for name in ("clean", "official"))
    changed = {key: value for key, value in official.method.items() if clean.method.get(key) != value}
    assert changed == {"bessel": "official"} and official.train == clean.train


def test_the_recurrence_is_refused_where_it_has_no_odd_dimension():
    with (
        pytest.raises(
            UsageError, match="projection_dim is even with bessel=official, not 15; set method.projection_dim=128"
        ),
        keyed("method"),
    ):
        small(bessel="official", projection_dim=15)
