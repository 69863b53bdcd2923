"""A step of every method with ResNet-50 and a batch of two images, forward, backward and optimiser, on a CPU."""

import itertools

import pytest
import torch
from helpers.chain import tiny
from helpers.engine_parts import Constant, one_process, stage
from helpers.sampling import each_value_once, methods_for

from lt_bench.augment.views import build_view
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.engine.loop import Trainer
from lt_bench.models.resnet import resnet50
from lt_bench.run.build import build

SIZE = 64  # the last stage is left with two by two positions


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epoch"), each_value_once(itertools.product(methods_for(), (0, 15)), in_all=True))
def test_a_step_of_resnet50_on_two_images(name, epoch, tmp_path):
    config = tiny(tmp_path, f"method={name}", "dataset=cifar100_lt", f"dataset.image_size={SIZE}", "backbone=resnet50")
    labels = torch.tensor([0, 0, 1, 1])
    images = torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    source = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
    torch.manual_seed(0)
    method = build(config.method, "method", resnet50(), TrainInfo(labels, 2, 20))
    method = method.to(memory_format=torch.channels_last)
    config.train.batch_size, config.train.epochs = 2, epoch + 1
    where = stage(tmp_path)._replace(budget=config.budget)
    trainer = Trainer(method, source, config.train, Constant(0.01), one_process(source), where)
    trainer.state.epoch = epoch  # the first epochs may warm up with another loss
    before = {key: value.clone() for key, value in method.named_parameters() if value.requires_grad}
    position = trainer.fit()
    assert (position.epoch, position.images) == (epoch + 1, 4)
    parameters = dict(method.named_parameters())
    assert all(bool(value.isfinite().all()) for value in parameters.values())
    assert all(not torch.equal(parameters[key], value) for key, value in before.items() if key.startswith("encoder"))
