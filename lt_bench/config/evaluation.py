"""The settings of evaluation: which images, which epoch's weights, and how a network sees an image."""

from __future__ import annotations

from dataclasses import dataclass

from lt_bench.config.settings import setting
from lt_bench.models.named import MEAN

AGGREGATED = "aggregated"  # what of several experts is evaluated, beside their mean and single ones
VIEWS = ("single", "five", "ten")  # crops of an image whose logits are averaged


@dataclass
class Aggregation:
    """How weights of experts are learnt on the images that are evaluated, without their labels (SADE)."""

    lr: float | None = setting(
        None, above=0, help="learning rate of the weights; null: that of stage one's classifiers"
    )
    weight_decay: float | None = setting(None, least=0, help="weight decay of the weights; null: that of stage one")
    momentum: float = setting(0.9, least=0, most=1, help="Nesterov's momentum")
    epochs: int = setting(5, least=1, help="passes over the images at most")
    batch_size: int = setting(128, least=1, help="images of a step")
    smallest: float = setting(
        0.05, least=0, most=1, help="learning ends after an epoch in which a weight, to two decimals, is below this"
    )
    view: str | None = setting(
        None, help="the random view whose predictions are to agree; null: SADE's for small, or for large images"
    )
    pairs: int = setting(
        1, least=1, help="pairs of views of each image, which epochs take in turn; as many as epochs: new ones in each"
    )


@dataclass
class Evaluation:
    """What is evaluated."""

    split: str = setting("test", choices=("test", "validation"), help="the images that metrics are computed on")
    select: str = setting(
        "last",
        choices=("last", "best_validation", "best_test"),
        help="the epoch whose weights are evaluated: the last, or the best on the validation or test images",
    )
    views: str = setting(
        "single",
        choices=VIEWS,
        help="the image as a single view, or the mean of the logits of five crops, the corners and the middle, or of "
        "ten, those of its mirror image too",
    )
    expand: int | None = setting(
        None,
        least=1,
        help="by how many pixels the short side of an image is longer than the crops that five or ten views are",
    )
    experts: str = setting(
        MEAN,
        help="what of a network with experts is evaluated: mean of their logits; expert0 or another one; aggregated, "
        "with weights that are learnt on these images without their labels",
    )
    aggregation: Aggregation = setting(Aggregation, help="how weights of experts are learnt, for experts=aggregated")
    batch_size: int = setting(500, least=1, affects_result=False, help="images, or crops, of one forward pass")
    save_features: bool = setting(
        False, affects_result=False, help="whether the features of these images are kept in the run folder, for figures"
    )

    def selection(self, validation_images: int) -> str:
        """How the epoch is chosen of data with so many validation images: it is the last one where there are none."""
        return "last" if self.select == "best_validation" and not validation_images else self.select
