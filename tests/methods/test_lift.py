"""LIFT: classifier, loss, rates and steps against the authors' code; fine-tuning steps and groups against timm."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.configs import settled
from helpers.engine_parts import Constant, FixedBatches, one_process, stage
from helpers.golden_vectors import FOLDER, golden
from torch import nn

from lt_bench.config.schema import Training
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.engine.parameter_groups import parameter_groups
from lt_bench.engine.predict import classify
from lt_bench.engine.schedules import Cosine
from lt_bench.errors import DataError, SettingError
from lt_bench.losses.cross_entropy import weighted_cross_entropy
from lt_bench.losses.lade import lade
from lt_bench.losses.ldam import ldam, ldam_margins
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from lt_bench.losses.reweighted import effective_number_weights, focal
from lt_bench.methods.balanced_softmax import BalancedSoftmax
from lt_bench.methods.classifier_start import ClassifierStart, class_means, few, linear_probe, set_rows
from lt_bench.methods.lift import LIFT
from lt_bench.models.finetuned import FineTuned
from lt_bench.models.heads import NormalizedLinear
from lt_bench.models.text_features import semantic_rows
from lt_bench.record.identity import identity_values

CLOSE = {"rtol": 1e-6, "atol": 1e-9}


@pytest.mark.parametrize("case", [0, 1])
def test_the_classifiers(case):
    """The two that recipes have; there are no classifiers here with normalised rows or features alone."""
    values = golden("lift_classifier", f"c{case}")
    for kind in ("cosine", "linear"):
        x = values["x"].double().requires_grad_()
        count, width = values["weight"].shape
        if kind == "cosine":
            head = NormalizedLinear(width, count, float(values["scale"])).double()
            head.weight.data = values["weight"].T.double().clone()
        else:
            head = nn.Linear(width, count).double()
            head.weight.data, head.bias.data = values["weight"].double(), values["bias"].double()
        logits = head(x)
        torch.testing.assert_close(logits.detach(), values[f"{kind}_logits"], **CLOSE)
        logits.backward(values["grad_out"].double())
        torch.testing.assert_close(x.grad, values[f"{kind}_grad_x"], **CLOSE)
        gradient = head.weight.grad.T if kind == "cosine" else head.weight.grad
        torch.testing.assert_close(gradient, values[f"{kind}_grad_weight"], **CLOSE)


def the_losses(counts):
    """Every loss that the authors offer, by name, as the suite has it; LIFT is ``la``.

    GRW is the limit of class weights by effective numbers, whose beta is near 1. LADE's two values are the authors'.
    """
    prior, margins = log_prior(counts).double(), ldam_margins(counts, 0.5)
    taus = {"la": 1.0, "la_tau_half": 0.5, "balanced_softmax": 1.0, "ce": 0.0}
    betas = {"cb": 0.9999, "grw": 1 - 1e-12}

    def adjusted(tau):
        return lambda logits, labels: logit_adjusted_cross_entropy(logits, labels, prior, tau)

    def weighted(beta):
        return lambda logits, labels: weighted_cross_entropy(logits, labels, effective_number_weights(counts, beta))

    def margin(scale):
        return lambda logits, labels: ldam(logits / scale, labels, margins, scale)

    return {
        **{name: adjusted(tau) for name, tau in taus.items()},
        **{name: weighted(beta) for name, beta in betas.items()},
        **{f"ldam_s{scale}": margin(scale) for scale in (25, 30)},
        "focal": lambda logits, labels: focal(logits, labels, 2.0),
        "lade": lambda logits, labels: adjusted(1.0)(logits, labels) + 0.1 * lade(logits, labels, prior, 0.1, True),
    }


@pytest.mark.parametrize("case", [0, 1])
def test_the_losses(case):
    values = golden("lift_loss", f"c{case}")
    losses = the_losses(values["counts"])
    assert losses.keys() == {name.removesuffix("_loss") for name in values if name.endswith("_loss")}
    for name, loss in losses.items():
        logits = values["logits"].double().requires_grad_()
        found = loss(logits, values["labels"])
        found.backward()
        torch.testing.assert_close(found.detach(), values[f"{name}_loss"], rtol=1e-9, atol=0)
        torch.testing.assert_close(logits.grad, values[f"{name}_grad"], **CLOSE)
    torch.testing.assert_close(effective_number_weights(values["counts"], 0.9999), values["cb_weights"], **CLOSE)
    torch.testing.assert_close(effective_number_weights(values["counts"], 1 - 1e-12), values["grw_weights"], **CLOSE)
    torch.testing.assert_close(ldam_margins(values["counts"], 0.5), values["ldam_margins"], **CLOSE)


def test_what_the_authors_code_does_otherwise():
    """Settings that ``fidelity=official`` changes."""
    for method in ("lift", "lift_plus"):
        clean, official = (
            identity_values(settled(f"method={method}", "dataset=imagenet_lt", f"fidelity={kind}"))
            for kind in ("clean", "official")
        )
        assert {key: official[key] for key in official.keys() - clean.keys()} == {
            "fidelity": "official",
            "method.finetune.ignore_blocks": True,
            "train.microbatch_weights": "full",
        }


def test_rates():
    data = golden("lift_lr")
    for name in ("lift_10", "lift_20", "lift_30", "liftplus_5", "liftplus_15"):
        schedule = Cosine(float(data[f"{name}_base"]), len(data[name]))
        found = [schedule(epoch, step, 3) for epoch in range(len(data[name])) for step in (0, 2)][::2]
        np.testing.assert_allclose(found, data[name], rtol=1e-12)


def test_starts_from_names_and_means():
    values = golden("lift_classifier")
    features, projection = values["text_features"].double(), values["text_image_projection"].double()
    torch.testing.assert_close(
        semantic_rows(features[0], projection), values["text_classname_weight"].double(), **CLOSE
    )
    means = F.normalize(class_means(values["mean_features"].double(), values["mean_labels"], 4), dim=1)
    torch.testing.assert_close(means, values["mean_weight"].double(), **CLOSE)
    plus = golden("liftplus_start")
    joint = plus["text_hidden"].double() @ plus["text_projection"].double()
    torch.testing.assert_close(
        semantic_rows(joint, plus["image_projection"].double()), plus["semantic_weight"].double(), **CLOSE
    )
    labels = values["shots_labels"]
    for shots in (1, 10, 100):
        taken = few(labels, shots, torch.Generator().manual_seed(0))
        counts = torch.bincount(labels[taken], minlength=5)
        assert counts.tolist() == values[f"shots_{shots}_counts"].tolist() and taken.unique().numel() == len(taken)
    one, other = (few(labels, 1, torch.Generator().manual_seed(seed)).tolist() for seed in (0, 1))
    assert one != other


@pytest.mark.slow
def test_a_linear_probe_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    drawn = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 12 + [1] * 5 + [2] * 3)
    features = torch.randn(20, 4, generator=drawn, dtype=torch.float64) + labels[:, None]
    expected = LogisticRegression(class_weight="balanced", max_iter=100, tol=1e-10).fit(
        features.numpy(), labels.numpy()
    )
    found = linear_probe(features, labels, 3)
    np.testing.assert_allclose(found[:, :-1], expected.coef_, atol=1e-3)
    bias = found[:, -1] - found[:, -1].mean()
    np.testing.assert_allclose(bias, expected.intercept_ - expected.intercept_.mean(), atol=1e-3)
    assert linear_probe(features[:17], labels[:17], 2).shape == (2, 5)


class Images(nn.Module):
    """An encoder of which a start needs nothing but the width."""

    feature_dim = 3


class Given:
    """A context with features of its own."""

    def __init__(self, features):
        self.features = features

    def embed(self, function, view="plain"):
        return self.features

    def from_rank0(self, compute):
        return compute()

    def generator(self, stream, *key):
        return torch.Generator().manual_seed(0)


def test_both_classifiers_start_from_means_and_text(tmp_path):
    features = torch.tensor([[2.0, 0, 0], [0, 3, 0], [0, 5, 0], [0, 0, 7]])
    labels = torch.tensor([0, 1, 1, 2])
    method = LIFT(Images(), TrainInfo(labels, 3, 1))
    ClassifierStart("class_mean")(method, Given(features), labels)
    assert torch.equal(method.classifier.weight, torch.eye(3))
    linear = nn.Linear(3, 3)
    set_rows(linear, 2 * torch.eye(3))
    assert torch.equal(linear.weight, 2 * torch.eye(3)) and not linear.bias.any()
    with pytest.raises(DataError, match="classes without training images .*: 2"):
        ClassifierStart("class_mean")(method, Given(features[:3]), labels[:3])
    path = tmp_path / "text.npz"
    names = np.array(["tiger shark", "ox", "hen"])
    np.savez(path, names=names, features=np.eye(3), projection=np.eye(3)[:, [1, 2, 0]])
    ClassifierStart("text", str(path), ["ox", "hen", "tiger_shark"])(method, Given(features), labels)
    expected = semantic_rows(torch.eye(3)[[1, 2, 0]], torch.eye(3)[:, [1, 2, 0]]).T
    assert torch.equal(method.classifier.weight, expected)
    with pytest.raises(DataError, match="no features of cow"):
        ClassifierStart("text", str(path), ["cow", "hen", "ox"])(method, Given(features), labels)
    path.write_bytes(b"none")
    with pytest.raises(DataError, match="is no file of text features"):
        ClassifierStart("text", str(path), ["ox", "hen", "cow"])(method, Given(features), labels)


@pytest.mark.parametrize("scale", [0.0, float("inf")])
def test_a_scale_that_cannot_be_is_refused(scale):
    with pytest.raises(SettingError, match="scale is positive and finite"):
        LIFT(Images(), TrainInfo(torch.arange(3), 3, 1), scale=scale)


def method_of(data, kind):
    """LIFT on the golden network with the modules of a trace, in double precision, and its trained parameters."""
    from helpers.tiny_vit import by_golden_name, tiny_vit

    labels = torch.repeat_interleave(torch.arange(7), data["counts"].long())
    method = LIFT(FineTuned(tiny_vit(), kind, 4), TrainInfo(labels, 7, 3)).double()
    method.log_prior = log_prior(data["counts"]).double()
    named = by_golden_name(method.encoder)
    for name, parameter in named.items():
        if f"init_{name}" in data:
            parameter.data.copy_(data[f"init_{name}"])
    method.classifier.weight.data = data["init_head_weight"].T.double().clone()
    return method, {name: one for name, one in named.items() if one.requires_grad}


@pytest.mark.parametrize(("file", "kind"), [("lift_step", "adaptformer"), ("lift_step_accumulate", "lora")])
def test_the_authors_training_loop(file, kind, tmp_path):
    """Losses, first gradients, last weights, logits of five crops; the smaller last batch counts as it does there."""
    pytest.importorskip("timm")
    data = golden(file)
    method, named = method_of(data, kind)
    frozen = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    number, epochs, size = (int(data[key]) for key in ("num_batches", "num_epochs", "batch_size"))
    config = Training(
        epochs=epochs,
        batch_size=size,
        lr=0.1,
        optimizer={"name": "sgd", "momentum": float(data["momentum"]), "weight_decay": float(data["weight_decay"])},
    )
    if (micro := int(data["micro_batch_size"])) < size:
        config.microbatch, config.microbatch_weights = micro, "full"
    given = [(data[f"batch{i}_images"].double(), data[f"batch{i}_labels"]) for i in range(number)]
    groups = [given[at : at + size // micro] for at in range(0, number, size // micro)]
    whole = [[torch.cat(parts) for parts in zip(*group, strict=True)] for group in groups]
    joined = [Batch((images,), labels, labels) for images, labels in whole]
    source = FixedBatches(joined)
    trainer = Trainer(method, source, config, Constant(1.0), one_process(source), stage(tmp_path))
    schedule, losses, steps = Cosine(float(data["lr"]), epochs), [], []
    for epoch, batch in itertools.product(range(epochs), joined):
        trainer.optimizer.zero_grad()
        losses.append(trainer._add_gradients(batch, epoch, 0)["loss"].item())
        if not steps:
            for name, parameter in named.items():
                torch.testing.assert_close(parameter.grad, data[f"first_grad_{name}"], **CLOSE)
            torch.testing.assert_close(method.classifier.weight.grad.T, data["first_grad_head_weight"], **CLOSE)
        steps.append(schedule(epoch, 0, number))
        trainer.rates.set(trainer.optimizer, [steps[-1]])
        trainer.precision.step(trainer.optimizer)
    by_epoch = data["loss_of_batch"].view(epochs, number).numpy()
    starts = range(0, number, size // micro)
    expected = [part[at : at + size // micro].sum() * micro / size for part in by_epoch for at in starts]
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    np.testing.assert_allclose(steps, data["lr_of_step"], rtol=1e-12)
    for name, parameter in named.items():
        torch.testing.assert_close(parameter.detach(), data[f"final_{name}"], **CLOSE)
    torch.testing.assert_close(method.classifier.weight.detach().T, data["final_head_weight"], **CLOSE)
    unchanged = [f"encoder.{name}" for name in method.encoder.unchanged]
    assert unchanged and all(torch.equal(method.state_dict()[name], frozen[name]) for name in unchanged)
    with torch.no_grad():
        crops = data["eval_crops"].double()
        logits = classify(method.classifier, method.encoder(crops.flatten(0, 1)).unflatten(0, crops.shape[:2]), 5)
    torch.testing.assert_close(logits, data["eval_logits"], **CLOSE)


class Whole(nn.Module):
    """A method's parts as parameter groups see them: timm's network without its head, and a linear head."""

    def __init__(self, network, classes=10):
        super().__init__()
        self.encoder, self.classifier = network, nn.Linear(network.num_features, classes)

    def parameter_groups(self):
        from lt_bench.contracts import ParameterGroup

        return [ParameterGroup("all", list(self.parameters()))]


@pytest.mark.slow
def test_rates_by_depth_are_those_of_timm():
    timm = pytest.importorskip("timm")
    data = np.load(FOLDER / "finetune_groups.npz")
    decay = float(data["layer_decay"])
    for model in data["models"].tolist():
        with torch.device("meta"):
            method = Whole(timm.create_model(model, num_classes=0))
        groups = parameter_groups(method, Training(layer_decay=decay, decay_bias_and_norm=False))
        found = {id(one): (group.lr_factor, group.weight_decay) for group in groups for one in group.parameters}
        names = {id(one): name for name, one in method.named_parameters()}
        scales = dict(zip(data[f"{model}__names"], data[f"{model}__scale"], strict=True))
        decays = dict(zip(data[f"{model}__names"], data[f"{model}__decayed"], strict=True))
        for key, (factor, own) in found.items():
            name = names[key].removeprefix("encoder.")
            if name.startswith("classifier."):
                assert factor == 1
                continue
            assert factor == pytest.approx(scales[name], rel=1e-9), (model, name)
            assert (own is None) == bool(decays[name]), (model, name)


def test_fine_tuning_all_of_a_transformer_takes_the_steps_of_timms_groups(tmp_path):
    pytest.importorskip("timm")
    from helpers.tiny_vit import BASE, tiny_vit

    data, words = golden("finetune_step"), np.load(FOLDER / "finetune_step.npz")
    counts = BASE["counts"]
    labels = torch.repeat_interleave(torch.arange(7), counts.long())
    method = BalancedSoftmax(FineTuned(tiny_vit(in21k=True), "full"), TrainInfo(labels, 7, 2)).double()
    method.log_prior = log_prior(counts).double()
    method.classifier.weight.data, method.classifier.bias.data = (
        data["head_weight"].double(),
        data["head_bias"].double(),
    )
    config = Training(
        epochs=2, batch_size=3, lr=0.1, layer_decay=float(data["layer_decay"]), decay_bias_and_norm=False,
        optimizer={"name": "adamw", "weight_decay": float(data["weight_decay"])},
    )  # fmt: skip
    given = [Batch((data[f"batch{i}_images"].double(),), data[f"batch{i}_labels"], torch.arange(3)) for i in range(2)]
    source = FixedBatches(given)
    trainer = Trainer(method, source, config, Constant(1.0), one_process(source), stage(tmp_path))
    names = {id(one): name for name, one in method.named_parameters()}
    plain = {key: name.removeprefix("encoder.encoder.").replace("classifier", "head") for key, name in names.items()}
    for group in trainer.groups:
        for one in group.parameters:
            number = words["names"].tolist().index(plain[id(one)])
            assert group.lr_factor == pytest.approx(float(words["lr_scale"][number]), rel=1e-9)
            own = config.optimizer["weight_decay"] if group.weight_decay is None else group.weight_decay
            assert own == pytest.approx(float(words["weight_decay_of"][number]))
    losses = []
    for step, lr in enumerate(data["lr"].tolist()):
        terms = trainer._step(given[step % 2], step // 2, step % 2, lr)
        losses.append(terms["loss"].item())
    np.testing.assert_allclose(losses, data["loss"], rtol=1e-8)
    final = {plain[id(one)]: one.detach() for one in method.parameters()}
    for name, norm in zip(words["names"].tolist(), data["final_norms"].tolist(), strict=True):
        assert final[name].norm().item() == pytest.approx(norm, rel=1e-7)
        if f"final__{name}" in data:
            torch.testing.assert_close(final[name], data[f"final__{name}"].double(), rtol=1e-6, atol=1e-8)
