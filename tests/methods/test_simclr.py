"""SimCLR: the head and the batching of its views, what relatives may override, several processes, no labels."""

import pytest
import torch
from helpers.chain import class_of, execute, tiny
from helpers.engine_parts import (
    CPU,
    INPUTS,
    LABELS,
    Constant,
    FixedBatches,
    Identity,
    Noisy,
    Vectors,
    one_process,
    stage,
    training,
)
from helpers.golden_vectors import golden
from helpers.self_supervised import assert_near
from helpers.two_processes import on_two
from torch import nn

from lt_bench.config.compose import compose, groups
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.data.load import load_data
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.errors import UsageError, keyed
from lt_bench.losses.simclr import nt_xent
from lt_bench.methods.focal import Focal
from lt_bench.methods.harmonization import HarmonizationSettings
from lt_bench.methods.simclr import SimCLR
from lt_bench.models.resnet_cifar import resnet18_cifar
from lt_bench.preflight.validate import validate

SELF_SUPERVISED = [name for name in groups()["method"] if class_of("method", name).self_supervised]


def built(kind=SimCLR, **settings):
    torch.manual_seed(0)
    return kind(Vectors(), TrainInfo(LABELS, 3, 5), **({"projection_dim": 5} | settings))


def batch_of(indices, seed=0):
    noise = torch.randn(2, len(indices), 6, generator=torch.Generator().manual_seed(seed))
    return Batch(tuple(INPUTS[indices] + 0.1 * one for one in noise), LABELS[indices], indices)


def loss_of(method, batch, epoch=0):
    return method(batch, epoch, 0, one_process(FixedBatches([batch])))["loss"]


@pytest.mark.parametrize("case", ["c0", "c1"])
@pytest.mark.parametrize("batching", ["separate", "joint"])
def test_the_head_and_both_batchings_of_views_are_the_golden_ones(case, batching):
    vectors = golden("simclr_view_batching", case)
    views = tuple(vectors[f"features{number}"].double() for number in (1, 2))
    width, out = views[0].shape[1], len(vectors["head__bn2__weight"])
    info = TrainInfo(torch.zeros(len(views[0]), dtype=torch.int64), 1, 1)
    method = SimCLR(Identity(width), info, projection_dim=out, view_batching=batching).double()
    for place, name in enumerate(("fc1", "bn1", None, "fc2", "bn2")):
        for kind in ("weight", "bias"):
            if f"head__{name}__{kind}" in vectors:
                getattr(method.head[place], kind).data = vectors[f"head__{name}__{kind}"]
    batch = Batch(views, info.labels, torch.arange(len(info.labels)))
    first, second = method.embed_views(batch)
    joint = vectors["z_joint_interleaved"]
    expected = {"separate": (vectors["z1_separate"], vectors["z2_separate"]), "joint": (joint[0::2], joint[1::2])}
    for found, wanted in zip((first, second), expected[batching], strict=True):
        assert_near(found, wanted, 1e-6)
    assert_near(nt_xent(first, second, 0.2), vectors[f"per_sample_{batching}"], 1e-6)
    assert_near(method.head[1].running_mean, vectors[f"running_mean1_{batching}"], 1e-6)


def test_the_loss_is_the_mean_of_nt_xent():
    method, batch = built(temperature=0.3), batch_of(torch.arange(8))
    expected = nt_xent(*method.embed_views(batch), 0.3).mean()
    torch.testing.assert_close(loss_of(built(temperature=0.3), batch), expected)


def test_a_relative_gets_every_loss_of_the_joined_batch_with_its_image():
    seen = []

    class Watching(SimCLR):
        def on_losses(self, losses, indices, epoch):
            seen.append((losses, indices, epoch))

    method, batch = built(Watching), batch_of(torch.tensor([3, 9, 4, 17]))
    loss = loss_of(method, batch, epoch=2)
    ((losses, indices, epoch),) = seen
    assert losses.shape == (4,) and not losses.requires_grad and epoch == 2
    assert torch.equal(indices, batch.indices)
    torch.testing.assert_close(losses.mean(), loss.detach())


def test_a_single_last_image_is_left_out_of_an_epoch(tmp_path):
    source = Noisy(INPUTS.double())
    trainer = Trainer(built().double(), source, training(1, 5), Constant(0.1), one_process(source), stage(tmp_path))
    assert trainer.steps_per_epoch == 5  # 26 images
    trainer.fit()


def test_labels_are_not_looked_at():
    batch = batch_of(torch.arange(8))
    losses = [loss_of(built(), batch._replace(labels=labels)) for labels in (batch.labels, 7 - batch.labels)]
    assert torch.equal(*losses)


def test_the_head_has_the_hidden_layers_it_is_asked_for():
    for count in (0, 1, 2):
        linear = [part for part in built(projection_hidden_layers=count).head if isinstance(part, nn.Linear)]
        assert [part.out_features for part in linear] == [8] * count + [5]


def test_pytorchs_own_initial_weights_on_request():
    torch.manual_seed(0)
    stds = []
    for default_weights in (False, True):
        method = SimCLR(resnet18_cifar(), TrainInfo(LABELS, 3, 5), default_weights=default_weights)
        stds.append(float(method.encoder.stages[3][0].conv1.weight.detach().std()))  # 256 -> 512 channels
    assert stds == pytest.approx([(2 / (512 * 9)) ** 0.5, 1 / (3 * 256 * 9) ** 0.5], rel=0.01)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 0.0}, "temperature is positive and finite, not 0.0"),
        ({"temperature": float("inf")}, "temperature is positive and finite, not inf; set method.temperature=0.2"),
        ({"projection_hidden": 0}, "at least one output, not 0; set method.projection_hidden=128"),
        ({"projection_dim": -1}, "at least one output, not -1; set method.projection_dim=128"),
        ({"view_batching": "both"}, "separate or joint, not 'both'"),
        ({"views": ("ssl",)}, r"a list of two views, not \[.ssl.\]; set method.views=\[ssl,ssl\]"),
        ({"projection_hidden_layers": -1}, "0 or more, not -1; set method.projection_hidden_layers=1"),
    ],
)
def test_impossible_options_are_refused(settings, said):
    with pytest.raises(UsageError, match=said), keyed("method"):
        built(**settings)


# labels never reach stage one


def stage_one_of(config, monkeypatch, relabel):
    """The weights of stage one where the training labels, but not the images, are changed before anything is built."""

    def load(*words):
        data = load_data(*words)
        data.train.labels = relabel(data.train.labels)
        return data

    with monkeypatch.context() as patch:
        patch.setattr("lt_bench.run.stages.load_data", load)
        _, folder = execute(config, only_stage_one=True)
    return torch.load(folder / "checkpoint.pt", weights_only=True)["model"]


@pytest.mark.parametrize("name", SELF_SUPERVISED)
def test_shuffled_labels_give_the_same_bits(name, tmp_path, monkeypatch):
    def shuffled(labels):
        return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]

    plain = stage_one_of(tiny(tmp_path / "plain", f"method={name}"), monkeypatch, lambda labels: labels)
    other = stage_one_of(tiny(tmp_path / "shuffled", f"method={name}"), monkeypatch, shuffled)
    assert plain.keys() == other.keys()
    for key, value in plain.items():
        assert torch.equal(value, other[key]), key
    if name.endswith("_gh"):  # it has learned from what it has seen
        assert len(plain["harmonization.prior"].unique()) > 1


def test_a_sampler_that_reads_labels_is_refused():
    with pytest.raises(UsageError, match="method=simclr never reads labels.*train.sampler=shuffle"):
        validate(compose(["method=simclr", "train.sampler=class_aware"]))


# two processes


GH = HarmonizationSettings(warm_epochs=1, ramp_epochs=2, target_dim=4, prior_interval=1)
KINDS = {"simclr": (SimCLR, {}), "focal": (Focal, {}), "simclr_gh": (SimCLR, {"harmonization": GH})}


def train(name, processes, folder):
    """The state after four epochs, and the first step's loss."""
    kind, settings = KINDS[name]
    source, method = Noisy(INPUTS.double()), built(kind, **settings)
    method.head = nn.Linear(8, 5)  # without batch norm, so that a batch may be shared out without a difference
    method.double()
    losses = []
    plain = method.image_losses
    method.image_losses = lambda *words: losses.append(plain(*words)) or losses[-1]
    run = EngineContext(processes, 3, source)
    folder.mkdir()
    # of 26 images the last four are a batch of their own, two for each process
    Trainer(method, source, training(4, 22, lr=0.05, momentum=0.9), Constant(0.05), run, stage(folder)).fit()
    return {**method.state_dict(), "first losses": losses[0].detach()}


def task(processes, folder):
    return {name: train(name, processes, folder / f"{name}_{processes.rank}") for name in KINDS}


@pytest.mark.slow
def test_two_processes_train_as_one_on_the_joined_batch(tmp_path):
    """Losses, score memory, prior, and the weights that all gradients lead to."""
    both = on_two(task)
    for name in KINDS:
        alone = train(name, Processes(0, 1, CPU), tmp_path / name)
        assert ("harmonization.memory" in alone) == name.endswith("_gh")
        for results in both:
            found = results[name]
            assert found.keys() == alone.keys()
            for key, value in found.items():
                torch.testing.assert_close(
                    value, alone[key], rtol=1e-9, atol=1e-10, msg=lambda text, key=f"{name} {key}": f"{key}: {text}"
                )
        for key, value in both[0][name].items():
            assert torch.equal(value, both[1][name][key]), key
