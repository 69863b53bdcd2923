"""The settings of a data set: where its images are, how they are read, cut and shown."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from lt_bench.config.settings import MOST_JITTER, MOST_OPERATIONS, setting


@dataclass
class Dataset:
    """A data set, how its images are augmented, and how its classes are grouped in tables."""

    name: str = setting(MISSING, help="its name, as in records, and that of its folder in data_dir")
    title: str = setting(MISSING, affects_result=False, help="its name in tables")
    _target_: str = setting(MISSING, help="the function that finds its images, as module.name")
    root: str | None = setting(
        None, affects_result=False, help="the folder that it is in; null: the folder of its name in data_dir"
    )
    download: bool = setting(True, affects_result=False, help="whether it is downloaded where it is not there")
    num_classes: int | None = setting(
        None, least=2, help="the number of classes; null: as many as the training list of a data set of image files has"
    )
    image_size: int = setting(MISSING, least=4, help="height and width of the images that the network sees, in pixels")
    mean: list[float] = setting(MISSING, length=3, help="what is subtracted from each colour, which is from 0 to 1")
    std: list[float] = setting(MISSING, above=0, length=3, help="what each colour is divided by afterwards")
    interpolation: str = setting(
        "bilinear",
        choices=("bilinear", "bicubic"),
        help="how images are resized, where a view does not say; networks with pretrained weights of timm have theirs",
    )
    crop_share: float = setting(
        0.875,
        least=0.1,
        most=1,
        help="side of the middle that images in files are evaluated on, as a part of their short side: 224 of 256",
    )
    horizontal_flip: bool = setting(True, help="whether images are mirrored at random")
    crop_padding: int | None = setting(
        4, least=0, help="pixels around an image before the view crop_flip cuts from it; null: random resized crops"
    )
    crop_scale: list[float] = setting(
        [0.2, 1.0],
        least=0,
        most=1,
        above=0,
        length=2,
        help="smallest and largest part of an image's area in a random resized crop",
    )
    color_jitter: list[float] = setting(
        [0.4, 0.4, 0.4, 0.1],
        least=0,
        most=MOST_JITTER,
        length=4,
        help="strength of brightness, contrast, saturation and hue jitter",
    )
    color_jitter_probability: float = setting(0.8, least=0, most=1, help="part of the images with colour jitter")
    grayscale_probability: float = setting(0.2, least=0, most=1, help="part of the images that turn grey")
    randaugment_operations: int = setting(
        2, least=1, most=MOST_OPERATIONS, help="operations of RandAugment on each image"
    )
    randaugment_magnitude: float = setting(10.0, least=0, help="magnitude of the operations of RandAugment")
    group_rule: str = setting(
        "count_100_20",
        choices=("count_100_20", "count_100_20_at_100", "thirds"),
        help="what many, medium and few are in tables: more than 100 and less than 20 images, those that the classes "
        "would have at imbalance factor 100, or thirds of the classes",
    )
    own_group_rule: str | None = setting(
        None,
        affects_result=False,
        help="the group rule that stage ones are known by; null: the one in the file of the data set",
    )
    pool_per_class: int | None = setting(
        None, least=1, help="images of each class that the tail is cut from; null: all there are"
    )
    test_fraction: float = setting(
        0.0,
        least=0,
        most=1,
        help="part of the images of each class that is set aside for test, where a data set of image files has no test "
        "list; split_seed draws it",
    )
    validation_fraction: float = setting(
        0.0, least=0, most=1, help="part of the long-tailed images that is set aside for validation"
    )
    validation_per_class: int = setting(
        0, least=0, help="images of each class that are set aside for validation before the tail is cut"
    )
    split_dir: str | None = setting(
        None, help="a folder of lists of images instead of the selection by class counts; split_seed chooses among them"
    )
    list_dir: str | None = setting(
        None, affects_result=False, help="the folder of the lists of a data set of image files; null: its root"
    )
    follow_links: bool = setting(
        False,
        affects_result=False,
        help="whether links that lead out of root are read, as tools that keep versions of data make them",
    )
    train_list: str | None = setting(None, help="list of the training images of a data set of image files")
    validation_list: str | None = setting(None, help="list of its validation images; null: it has none")
    test_list: str | None = setting(None, help="list of its test images")
    probe_list: str | None = setting(
        None, help="list of the images that a linear probe is fitted on; null: the training list"
    )
    classes: str | None = setting(
        None,
        affects_result=False,
        help="a file of its classes' names in the order of their numbers, or alphabetical; null: matched where certain",
    )
    content_rule: str = setting(
        "auto",
        choices=("auto", "bytes", "sample"),
        affects_result=False,
        help="what own images are known by: their bytes, or names, sizes and the bytes of a sample; auto: sample above "
        "250,000 files",
    )
    train_images: int | None = setting(
        None, least=1, affects_result=False, help="how many images the published training list has; null: unknown"
    )
    validation_images: int | None = setting(
        None, least=1, affects_result=False, help="how many images the published validation list has; null: unknown"
    )
    test_images: int | None = setting(
        None, least=1, affects_result=False, help="how many images the published test list has; null: unknown"
    )
    class_sizes: list[int] | None = setting(
        None,
        least=1,
        length=2,
        affects_result=False,
        help="largest and smallest class of the published training list; null: unknown",
    )
    short_side: int | None = setting(
        None, least=8, help="pixels of the short side of images as they are stored; null: as they are"
    )
    jpeg_quality: int | None = setting(
        None, least=1, most=100, help="JPEG quality of images as they are stored; null: as they are"
    )
    pixels: str = setting(
        "plain",
        choices=("plain", "shown"),
        help="how image files become RGB: plain, as loaders of published data sets do it (transparency dropped, EXIF "
        "turns nothing), or as a viewer shows them (turned by EXIF, grey of 16 bits scaled, transparency on white)",
    )
    decoder: str = setting(
        "pillow",
        choices=("pillow", "turbo"),
        help="what decodes JPEG files; turbo (pip install 'lt_bench[jpeg]') is faster, and halves images or more as "
        "it decodes them, where a random crop is reduced to a quarter of its sides or less",
    )
    packed: str | None = setting(
        None, affects_result=False, help="a packed copy of the images as they are stored; null: image files are read"
    )
    workers: int | None = setting(
        None, least=0, affects_result=False, help="processes that read images; null: one per core"
    )
    on_bad_image: str = setting(
        "stop", choices=("stop", "skip"), help="whether an image that cannot be read stops the run or is left out"
    )
