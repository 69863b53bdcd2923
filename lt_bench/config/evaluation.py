"""The settings of evaluation: which images, which epoch's weights, and how a network sees an image."""

from __future__ import annotations

from dataclasses import dataclass

from lt_bench.config.settings import setting

VIEWS = ("single", "five", "ten")  # crops of an image whose logits are averaged


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
    batch_size: int = setting(500, least=1, affects_result=False, help="images, or crops, of one forward pass")
    save_features: bool = setting(
        False, affects_result=False, help="whether the features of these images are kept in the run folder, for figures"
    )

    def selection(self, validation_images: int) -> str:
        """How the epoch is chosen of data with so many validation images: it is the last one where there are none."""
        return "last" if self.select == "best_validation" and not validation_images else self.select
