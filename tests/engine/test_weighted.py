"""Images drawn with replacement: how often each class and each image comes up."""

import torch
from helpers.engine_parts import one_process

from lt_bench.engine.weighted import WeightedOrder, drawn_positions, image_weights


def test_classes_are_drawn_as_often_as_their_exponent_says():
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([900, 90, 10]))
    generator = torch.Generator().manual_seed(0)
    for exponent, shares in ((1.0, [1 / 3, 1 / 3, 1 / 3]), (0.0, [0.9, 0.09, 0.01])):
        drawn = labels[drawn_positions(image_weights(labels, exponent), 30_000, generator)]
        found = torch.bincount(drawn, minlength=3) / 30_000
        torch.testing.assert_close(found, torch.tensor(shares), atol=0.01, rtol=0)  # more than three deviations


def test_every_image_of_a_class_is_as_likely_and_the_order_is_that_of_the_epoch():
    labels = torch.tensor([0, 0, 0, 1])
    order = WeightedOrder(labels, 1.0, one_process(None), "partner")
    found = torch.bincount(order(2, 60_000), minlength=4) / 60_000
    torch.testing.assert_close(found, torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 2]), atol=0.01, rtol=0)
    assert torch.equal(order(2, 50), order(2, 50)) and not torch.equal(order(2, 50), order(3, 50))
