"""What a user is told of a data set of files although nothing is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lt_bench.config.schema import Config
from lt_bench.data.content import knows_every_file, look, of_source
from lt_bench.data.files.digests import UNREADABLE
from lt_bench.data.published import has_lists, what_differs
from lt_bench.data.same_images import same_images
from lt_bench.data.sources.image_lists import ImageLists, describe
from lt_bench.data.sources.lists import ImageFiles
from lt_bench.data.splits.split import LEAST_FOR_VALIDATION

SHOWN = 10


def remarks(config: Config, lists: ImageLists) -> Iterator[str]:
    """What was passed over or turned, classes without an image in a part, and lists that are not the published ones."""
    yield from lists.remarks
    yield from untested(lists)
    yield from (f"{part}: {what}" for part, what in unpublished(config, lists).items())


def known_to_be_same(config: Config, lists: ImageLists, parts: Mapping[str, ImageFiles]) -> list[str]:
    """What is known of images that are there twice, byte for byte, without reading them again; see ``same_images``.

    ``parts`` are those of the lists as a run uses them.
    """
    files = look(config).files
    if files is None or not knows_every_file(config):
        return []
    sums = {name: digest.sha256 for name, digest in files.found.items() if digest.sha256 != UNREADABLE}
    contents = {part: [sums.get(name) for name in one.names] for part, one in parts.items()}
    return list(same_images(parts, contents, lists.class_name))


def not_looked_at(config: Config, lists: ImageLists) -> Iterator[str]:
    """What nobody has looked at when a run of images that are not known by all their bytes begins."""
    if knows_every_file(config):
        return
    if look(config).files is not None:
        yield (
            "images that are in two parts or under two labels are not looked for, as the images are known by a sample "
            "(python -m lt_bench.data check looks; dataset.content_rule=bytes in a run too)"
        )
    if config.budget.max_steps_per_epoch is not None:
        yield (
            f"{len(lists.train.names):,} training images are read as they are drawn, and this budget does not draw all "
            "(python -m lt_bench.data check reads all)"
        )


def untested(lists: ImageLists) -> Iterator[str]:
    """The classes that a part beside the training part has no image of, by name."""
    for part, files in lists.parts().items():
        if part != "train" and (missing := lists.without_images(files)):
            yield f"{part}: no image of {listed(missing)}"


def of_validation_part(config: Config, lists: ImageLists, part: ImageFiles) -> Iterator[str]:
    """What is said of a validation part that is cut from the training images, and of the classes that give none."""
    if not config.dataset.validation_fraction:
        return
    if not len(part.names):
        yield (
            f"validation: no part, as dataset.validation_fraction={config.dataset.validation_fraction:g} would give it "
            "fewer images than there are classes; all are trained on, to the last epoch"
        )
        return
    cut = f"dataset.validation_fraction={config.dataset.validation_fraction:g}, split_seed={config.split_seed}"
    yield f"validation: {describe(part, lists.num_classes)}, cut from the training images ({cut})"
    if missing := lists.without_images(part):
        yield f"validation: no image of {listed(missing)}: a class of fewer than {LEAST_FOR_VALIDATION} gives none"


def of_test_part(config: Config, lists: ImageLists, test: ImageFiles) -> Iterator[str]:
    """What is said of a test part that is cut from the training images."""
    cut = f"dataset.test_fraction={config.dataset.test_fraction:g}, split_seed={config.split_seed}"
    yield f"test: {describe(test, lists.num_classes)}, cut from the training images ({cut})"
    if missing := lists.without_images(test):
        yield f"test: no image of {listed(missing)}: their only one is trained on"


def unpublished(config: Config, lists: ImageLists) -> dict[str, str]:
    """What tells each list of a published data set that is not the published one from that, by part."""
    data, known = config.dataset, of_source(config, lists)
    if not has_lists(data.name):
        return {}
    return {
        part: f"not {data.title}'s published list: {what_differs(data.name, part, files)}"
        for part, files in lists.parts().items()
        if part != "probe" and known[part].published is None
    }


def known_by(config: Config, lists: ImageLists) -> dict[str, str]:
    """What each part is known by, in words."""
    others, title = unpublished(config, lists), config.dataset.title
    found = {}
    for part, known in of_source(config, lists).items():
        words = [others[part]] if part in others else []
        if known.published == "counts":
            words.append(f"{title}, by its published counts")
        elif known.published is not None:
            words.append(f"{title}'s published list" + ("" if known.published == part else f" ({known.published})"))
        else:
            words.append(f"known as {known}")
        found[part] = "; ".join(words)
    return found


def listed(names: Sequence[str]) -> str:
    """The first few of some names, on one line, and how many more there are."""
    more = len(names) - SHOWN
    plain = [name if name.isprintable() else repr(name)[1:-1] for name in names[:SHOWN]]
    return ", ".join(plain) + (f" and {more:,} more" if more > 0 else "")
