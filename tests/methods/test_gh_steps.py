"""Two steps of GH's authors' training loop through the real methods, engine and schedules."""

import pytest
import torch
from helpers.engine_parts import FixedBatches, Pictures, one_process, stage, training
from helpers.golden_vectors import golden
from helpers.self_supervised import assert_near
from torch import nn

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer, TrainState
from lt_bench.engine.schedules import GHTwoStage, WarmupCosine
from lt_bench.methods.focal import Focal
from lt_bench.methods.harmonization import HarmonizationSettings
from lt_bench.methods.sdclr import SDCLR
from lt_bench.methods.simclr import SimCLR

KINDS = {
    "gh_step_simclr": SimCLR,
    "gh_step_focal": Focal,
    "gh_step_sdclr": SDCLR,
    "gh_step_simclr_gh": SimCLR,
    "gh_step_focal_gh": Focal,
    "gh_step_sdclr_gh": SDCLR,
}
PLACES = {"fc1": "0", "bn1": "1", "fc2": "3", "bn2": "4"}  # of the head


class TwoConvolutions(nn.Module):
    """The encoder of SDCLR's vectors: two convolutions with batch norm and ReLU, global average."""

    feature_dim = 4

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, 2, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, images):
        maps = self.bn1(self.conv1(images)).relu()
        return self.bn2(self.conv2(maps)).relu().mean(dim=(2, 3))


def state(case, moment):
    """The vectors' parameters (and buffers) at a moment, under our names."""
    return {
        ours(name.removeprefix(f"{moment}__")): value for name, value in case.items() if name.startswith(f"{moment}__")
    }


def ours(name):
    """Our name of what is in the vectors the head (SDCLR: backbone.fc) or the encoder (SDCLR: the rest of backbone)."""
    part, *rest = name.removeprefix("backbone__").replace("fc__", "head__", 1).split("__")
    if part != "head":
        part, rest = "encoder", [part, *rest]
    layer, *inner = rest
    if inner[:1] == ["bn_list"]:  # SDCLR: 0 is the dense branch, 1 the pruned one
        copy, inner = inner[1], inner[2:]
        if copy == "1":
            return ".".join([f"pruned_{part}.norms", str(int(layer[-1]) - 1), *inner])
    return ".".join([part, PLACES[layer] if part == "head" else layer, *inner])


def gh_settings(case):
    late = int(case["epoch_one_based"]) > int(case["warm_up"])
    return HarmonizationSettings(
        warm_epochs=int(case["warm_up"]),
        ramp_epochs=int(case["gh_warm_up"]),
        target_dim=len(case["target"]),
        **{"late_momentum" if late else "momentum": float(case["score_beta"])},
    )


def rates(case, harmonized):
    warm = {"lr": 0.5, "epochs": int(case["epochs"]), "warm_epochs": 10}
    return GHTwoStage(**warm, switch_epoch=int(case["warm_up"])) if harmonized else WarmupCosine(**warm)


def watch(trainer):
    """The terms, gradients and rates of every step that the trainer will take."""
    terms, gradients, used = [], [], []
    step, network, update = trainer._step, trainer.network, trainer.optimizer.step

    def forward(*words):
        terms.append(network(*words))
        return terms[-1]

    def watched():
        gradients.append({name: value.grad.clone() for name, value in trainer.method.named_parameters()})
        return update()

    trainer.network, trainer.optimizer.step = forward, watched
    trainer._step = lambda batch, epoch, at, lr: used.append(lr) or step(batch, epoch, at, lr)
    return terms, gradients, used


@pytest.mark.parametrize("file", KINDS)
def test_two_steps_of_the_real_method_and_engine_are_the_authors(file, tmp_path):
    case, harmonized = golden(file), file.endswith("_gh")
    epoch, size = int(case["epoch_one_based"]) - 1, int(case["batch_size"])
    losses = case["loss_memory_before"].double()

    class Recorded(KINDS[file]):
        def on_losses(self, found, indices, epoch):
            beta = float(case["loss_beta"])
            losses[indices] = beta * losses[indices] + (1 - beta) * found

    options = {"harmonization": gh_settings(case)} if harmonized else {}
    if KINDS[file] is SDCLR:
        options |= {"prune_percent": float(case["prune_fraction"]), "pruned_bn_updates": 2}
    info = TrainInfo(torch.zeros(len(case["order"]), dtype=torch.int64), 1, int(case["epochs"]))
    encoder = TwoConvolutions() if KINDS[file] is SDCLR else Pictures(4)
    method = Recorded(encoder, info, projection_dim=case["target"].shape[1], **options).double()
    initial = state(case, "init")
    if harmonized:
        memory, prior, directions = case["score_memory_before"], case["prior"], case["target"]
        initial |= {f"harmonization.{name}": value for name, value in
                    (("memory", memory), ("prior", prior), ("directions", directions))}  # fmt: skip
    method.load_state_dict(initial | {name: value for name, value in method.state_dict().items() if ".mask" in name})

    orders = case["order"].split(size)
    batches = [
        Batch((case["x1"][order].double(), case["x2"][order].double()), info.labels[order], order) for order in orders
    ]
    source = FixedBatches(batches, info.labels)
    settings = training(
        epoch + 1, size, lr=0.5, momentum=float(case["momentum"]), weight_decay=float(case["weight_decay"])
    )
    trainer = Trainer(method, source, settings, rates(case, harmonized), one_process(source), stage(tmp_path))
    trainer.state = TrainState(epoch=epoch)
    terms, gradients, used = watch(trainer)
    trainer.fit()

    torch.testing.assert_close(torch.tensor(used, dtype=torch.float64), case["learning_rate"], rtol=1e-6, atol=0)
    assert len(terms) == len(gradients) == 2
    for number, (found, gradient) in enumerate(zip(terms, gradients, strict=True)):
        assert_near(found["loss"], case["reported_loss"][number], 1e-6)
        assert_near(found.get("contrastive", found["loss"]), case["contrastive_loss"][number], 1e-6)
        expected = state(case, f"grad{number}")
        assert gradient.keys() == expected.keys()
        for name, value in gradient.items():
            assert_near(value, expected[name], 2e-5)
    if harmonized:
        assert_near(torch.stack([found["harmonization"] for found in terms]), case["gh_loss"], 1e-6)
        assert method.harmonization.weight(epoch) == pytest.approx(float(case["gh_weight"]))
        assert_near(method.harmonization.memory, case["score_memory_after"], 1e-6)
    assert_near(losses, case["loss_memory_after"], 1e-6)
    for number, mask in enumerate(method.pruned_encoder.masks() if KINDS[file] is SDCLR else []):
        assert torch.equal(mask, case[f"mask__backbone__conv{number + 1}"].bool())
    final = state(case, "final")
    assert final.keys() == {
        name for name in method.state_dict() if not name.startswith("harmonization.") and ".mask" not in name
    }
    for name, value in final.items():
        assert_near(method.state_dict()[name], value, 2e-5)
