"""Evaluation by several crops of an image: predictions, a predictor, the epoch that is chosen, and what is refused."""

import csv

import numpy as np
import pytest
import torch
from helpers import image_trees
from helpers.chain import tiny
from helpers.configs import refusal
from PIL import Image

import lt_bench
from lt_bench.data.load import load_data
from lt_bench.engine.predict import embed_plain
from lt_bench.errors import UsageError
from lt_bench.evaluation.features import FEATURES, load_features
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.export.__main__ import write
from lt_bench.predict.__main__ import main
from lt_bench.record.identity import identities, identity_values
from lt_bench.run.execute import execute

WORDS = ("method=ce", "stage_two=none", "threads=1", "evaluation.batch_size=12", "evaluation.save_features=true")
FIVE = ("evaluation.views=five", "evaluation.expand=4")


@pytest.fixture(scope="module", params=["files", "memory"])
def run(request, tmp_path_factory):
    """A run that is evaluated by five crops: its config, record, folder, and the files of its test images."""
    place = tmp_path_factory.mktemp(request.param)
    words = ("dataset.validation_per_class=2", "evaluation.select=best_validation", *FIVE)
    if request.param == "files":
        root = image_trees.tree(place / "data", "image_folder")
        words = (
            *image_trees.overrides(root, "image_folder"),
            "dataset.test_fraction=0",
            "dataset.validation_fraction=0.2",
            "train.batch_size=16",
            *FIVE,
        )
    config = tiny(place / "runs", *WORDS, *words)
    record, folder = execute(config)
    data = load_data(config, torch.device("cpu"))
    if request.param == "files":
        return config, record, folder, [str(root / name) for name in data.test.names]
    names = [str(place / f"{number:04d}.png") for number in range(40)]
    for name, image in zip(names, data.test.images.permute(0, 2, 3, 1).numpy(), strict=False):
        Image.fromarray(np.ascontiguousarray(image)).save(name)
    return config, record, folder, names


def test_a_predictor_says_what_the_evaluation_said(run, tmp_path, capsys):
    config, record, folder, names = run
    assert (record.settings["evaluation.views"], record.settings["evaluation.expand"]) == ("five", 4)
    model, stored = lt_bench.load(folder), load_predictions(folder / "predictions.npz")
    assert model.images_at_once == 2 and model.transform(names[0]).shape == (5, 3, *[config.dataset.image_size] * 2)
    images = torch.stack([model.transform(name) for name in names])
    found = torch.cat([model.logits(part) for part in images.split(2)]).numpy()
    np.testing.assert_array_equal(found, stored.logits[: len(names)])
    crops = model.logits(images[:2].flatten(0, 1)).view(2, 5, -1)
    torch.testing.assert_close(crops.mean(1), torch.from_numpy(found[:2]))
    assert not torch.allclose(crops[0, 0], crops[0, 4])
    features = load_features(folder / FEATURES).features
    assert features.shape == (len(stored.labels), model.encoder.feature_dim)
    assert main([str(folder), *names[:5], "--top", "1", "--csv", str(tmp_path / "found.csv"), "--no-progress"]) == 0
    capsys.readouterr()
    with open(tmp_path / "found.csv", newline="") as file:
        said = [row["class_1"] for row in csv.DictReader(file)]
    assert said == [model.class_names[label] for label in stored.logits[:5].argmax(1)]
    assert stored.validation is not None and np.isfinite(stored.validation.logits).all()


def test_an_export_says_what_it_does_not_do(run, tmp_path):
    _, record, folder, _ = run
    write(lt_bench.load(folder), record, (), tmp_path)
    assert "the mean of the logits of five crops of" in (tmp_path / "README.md").read_text()
    assert '"crop": "corners and center"' in (tmp_path / "preprocessing.json").read_text()


def test_training_sees_the_middle_alone_and_evaluation_each_crop(run):
    config, *_ = run
    data, seen = load_data(config, torch.device("cpu")), []
    for images in (data.train, data.test):
        embed_plain(torch.nn.Flatten(), images, 12)
        (first, *_) = images.chunks("plain", torch.arange(2), slice(0, 2), 12, torch.Generator())
        seen.append(len(first))
    assert seen == [2, 10]
    embedded = embed_plain(torch.nn.Flatten(), data.test, 12)
    assert torch.equal(embedded, embed_plain(torch.nn.Flatten(), data.test, 500)) and embedded.shape[1] == 5


def test_the_crops_are_part_of_a_run_and_not_of_its_stage_one(tmp_path):
    plain, five = tiny(tmp_path, *WORDS), tiny(tmp_path, *WORDS, *FIVE)
    assert identities(plain)[1] == identities(five)[1] and identities(plain)[0] != identities(five)[0]
    more = identity_values(five).keys() - identity_values(plain).keys()
    assert more == {"evaluation.views", "evaluation.expand"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["evaluation.views=five"],
            "evaluation.views=five needs the pixels around its crops; set evaluation.expand=",
        ),
        (["evaluation.expand=4"], "evaluation.expand=4 is for several crops of an image; set evaluation.views=five"),
        (["evaluation.views=six"], "evaluation.views="),
        (["evaluation.views=five", "evaluation.expand=0"], "evaluation.expand="),
    ],
)
def test_what_says_nothing_alone_is_refused(words, said):
    assert said in refusal(*words)


def test_crops_that_show_little_of_an_image_are_refused(tmp_path):
    with pytest.raises(UsageError, match="expand=5 is at most half of the 8 pixels .*set evaluation.expand=1"):
        execute(tiny(tmp_path, *WORDS, "evaluation.views=ten", "evaluation.expand=5"))


@pytest.mark.parametrize("dataset", ["imagenet_lt", "inat18", "cifar100_lt"])
@pytest.mark.parametrize("method", ["lift", "lift_plus"])
def test_the_recipes_of_lift_evaluate_by_five_crops(method, dataset, tmp_path):
    config = tiny(tmp_path, f"method={method}", f"dataset={dataset}", "finetune=full")
    assert (config.evaluation.views, config.evaluation.expand) == ("five", 24)
