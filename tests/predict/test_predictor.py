"""A run leaves what predicts new images, whatever its rule, and that is what its evaluation computed."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import image_trees
from helpers.chain import method_for, tiny
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import lt_bench
from lt_bench.config.compose import groups
from lt_bench.config.trust import load as load_target
from lt_bench.data.load import load_data
from lt_bench.data.sources.cifar import CIFAR10, CIFAR100
from lt_bench.errors import DataError, UsageError
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.files import read_json, write_json
from lt_bench.models.kept import NotKept, node_of, rebuilt
from lt_bench.models.pruned import PrunedBranch, PrunedEncoder
from lt_bench.models.tiny import TinyEncoder
from lt_bench.record.record import PREDICTOR
from lt_bench.run.execute import execute

HELD_OUT = "dataset.validation_per_class=4"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs on digits that share a stage one, by rule, and their config."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(rule, *words):
        if (rule, words) not in made:
            config = tiny(folder, f"method={method_for(rule)}", f"stage_two={rule}", "threads=1", *words)
            made[rule, words] = config, execute(config)[1]
        return made[rule, words]

    return run


def stored(config, folder):
    """Logits of the test images in the folder, and the same from those images, one file each."""
    data, found = load_data(config, torch.device("cpu")), folder / "pictures"
    found.mkdir()
    for number, image in enumerate(data.test.images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(np.ascontiguousarray(image)).save(found / f"{number:04d}.png")
    return sorted(found.iterdir())


def test_every_rule_leaves_a_predictor_that_says_what_the_run_said(runs):
    """Bit for bit, in the batches of the evaluation."""
    paths = None
    for rule in groups()["stage_two"]:
        if rule.endswith("probe"):
            continue  # a linear classifier, as that of cb
        config, folder = runs(rule)
        paths = paths or stored(config, folder)
        model = lt_bench.load(folder)
        images = torch.stack([model.transform(path) for path in paths])
        found = torch.cat([model.logits(part) for part in images.split(model.batch_size)])
        np.testing.assert_array_equal(found.numpy(), load_predictions(folder / "predictions.npz").logits, err_msg=rule)
        assert model.class_names == tuple("0123456789") and model.temperature is None


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["imagenet_lt", "image_folder"])
def test_images_in_files_are_prepared_as_in_evaluation(dataset, tmp_path):
    root = image_trees.tree(tmp_path / "data", dataset)
    config = tiny(tmp_path / "runs", *image_trees.overrides(root, dataset), "method=ce", "stage_two=cb", "threads=1")
    record, folder = execute(config)
    data, model = load_data(config, torch.device("cpu")), lt_bench.load(folder)
    images = torch.stack([model.transform(root / name) for name in data.test.names])
    found = torch.cat([model.logits(part) for part in images.split(model.batch_size)])
    np.testing.assert_array_equal(found.numpy(), load_predictions(folder / "predictions.npz").logits)
    assert record.class_names == list(model.class_names)
    if dataset == "image_folder":
        assert model.class_names[:2] == ("n0000", "n0001")


def test_a_predictor_is_saved_and_loaded_without_the_code_of_training(runs, tmp_path):
    _, folder = runs("lws", HELD_OUT)
    lt_bench.load(folder).save(tmp_path / "kept")
    code = (
        "import sys, torch, lt_bench; assert 'lt_bench.predict' not in sys.modules; "
        f"model = lt_bench.load({str(tmp_path / 'kept')!r}); model.probabilities(torch.zeros(2, 3, 8, 8)); "
        "wrong = [name for name in sys.modules if name.startswith(('lt_bench.engine', 'lt_bench.methods', "
        "'lt_bench.losses', 'lt_bench.run', 'lt_bench.data.load'))]; sys.exit(', '.join(wrong) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    images = torch.rand(3, 3, 8, 8)
    assert torch.equal(lt_bench.load(tmp_path / "kept").logits(images), lt_bench.load(folder).logits(images))


def test_a_validation_part_calibrates(runs):
    config, folder = runs("lws", HELD_OUT)
    model = lt_bench.load(folder)
    assert model.calibrated_on == 40 and "fitted on 40 validation images" in model.about_probabilities
    logits = torch.from_numpy(load_predictions(folder / "predictions.npz").validation.logits)
    labels = load_predictions(folder / "predictions.npz").validation.labels

    def loss(temperature):
        likely = torch.log_softmax(logits.double() / temperature, 1)
        return -float(likely[torch.arange(len(labels)), torch.from_numpy(labels)].mean())

    best = loss(model.temperature)
    assert best <= min(
        loss(model.temperature * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2, 1 / model.temperature)
    )
    scaled = model.probabilities(torch.zeros(1, 3, 8, 8))
    assert not torch.equal(scaled, replace(model, temperature=None).probabilities(torch.zeros(1, 3, 8, 8)))


def test_what_is_no_predictor_is_refused_with_what_to_type(runs, tmp_path):
    with pytest.raises(UsageError, match="no folder of a finished run"):
        lt_bench.load(tmp_path)
    write_json(tmp_path / "record.json", {})
    with pytest.raises(UsageError, match=r"delete .*record\.json and type the run again; nothing is trained again"):
        lt_bench.load(tmp_path)
    _, folder = runs("cb")
    content = (folder / PREDICTOR).read_bytes()
    for damaged in (b"", b"no tensors", content[:100], content[:-50]):
        (tmp_path / PREDICTOR).write_bytes(damaged)
        with pytest.raises(DataError, match="is no predictor of lt_bench"):
            lt_bench.load(tmp_path)


def test_a_folder_beside_the_one_that_is_meant_is_told_from_it(runs, tmp_path, monkeypatch):
    _, folder = runs("cb")
    stage_one = json.loads((folder / "record.json").read_text())["stage_one_id"]
    with pytest.raises(UsageError, match=rf"is the stage one of a run, which predicts nothing; name {folder.parent}/"):
        lt_bench.load(folder.parent / stage_one)
    write_json(tmp_path / "ab" / "record.json", {"kind": "stage_one"})
    with pytest.raises(UsageError, match="name the folder of the whole run, which is not finished here"):
        lt_bench.load(tmp_path / "ab")
    with pytest.raises(UsageError, match=rf"is a folder of runs; name one of them, such as {folder.parent}/"):
        lt_bench.load(folder.parent)
    (tmp_path / "runs").symlink_to(folder.parent)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"did you mean runs/{folder.name}\?"):
        lt_bench.load(folder.name)


@pytest.mark.parametrize(
    ("target", "error", "said"),
    [
        ("subprocess.Popen", UsageError, "subprocess is code that nobody has asked to run"),
        ("lt_bench.files.write_json", UsageError, "no component of lt_bench"),
        ("my_own_file.Network", DataError, "cannot be built"),
        ("torch.nn.Linear", UsageError, "--trust MODULE"),
        (3, DataError, "no _target_"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_code_that_nobody_trusts_is_not_run(runs, tmp_path, monkeypatch, inside, target, error, said):
    path = runs("cb")[1] / PREDICTOR
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["lt_bench"])
    node = {"_target_": target}
    about["encoder"] = {"_target_": "lt_bench.models.pool.InputPool", "k": 2, "encoder": node} if inside else node
    save_file(load_file(path), tmp_path / PREDICTOR, {"lt_bench": json.dumps(about)})
    monkeypatch.setattr("lt_bench.predict.predictor.load_target", lambda target: pytest.fail(f"{target} is loaded"))
    with pytest.raises(error, match=said):
        lt_bench.load(tmp_path)


def changed(path, to, **about):
    """A copy of a predictor in the folder ``to``, with other values in its head."""
    with safe_open(path, "pt") as file:
        head = json.loads(file.metadata()["lt_bench"])
    save_file(load_file(path), to / PREDICTOR, {"lt_bench": json.dumps(head | about)})


LINEAR = {"_target_": "lt_bench.models.heads.linear", "in_features": 8, "out_features": 10, "bias": True}
SEEN = {"size": 8, "share": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.mark.parametrize(
    "about",
    [
        *({"class_names": names} for names in (None, [], "0123456789", [*range(10)], [*"012"])),
        *({"temperature": value} for value in (0, -1, "x", [], float("inf"), float("nan"), 10**400)),
        *({"batch_size": value} for value in (0, -1, 1.5, "8", None)),
        {"calibrated_on": -1},
        {"backbone": 3},
        *({"transform": value} for value in (None, [], {}, {"size": 8})),
        *({"transform": SEEN | {"size": value}} for value in (0, -8, 2**40, 8.5, "8", True)),
        *({"transform": SEEN | {"share": value}} for value in (0, 1e-9, 2, "1")),
        *({"transform": SEEN | {"std": value}} for value in ([1, 1], [0, 1, 1], "abc", [float("nan"), 1, 1])),
        *({"encoder": {"_target_": target}} for target in ("\n", "a\nb.C", "")),
        *({"transform": SEEN | more} for more in ({"pixels": "other"}, {"stored_side": -1}, {"unknown": 1})),
        *({"classifier": LINEAR | more} for more in ({"in_features": 2**40}, {"out_features": -1}, {"unknown": 1})),
    ],
    ids=str,
)
def test_a_tampered_predictor_is_refused_in_one_line(runs, tmp_path, about):
    changed(runs("cb")[1] / PREDICTOR, tmp_path, **about)
    with pytest.raises(DataError) as error:
        lt_bench.load(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_the_predictor_of_another_run_is_refused_beside_a_record(runs, tmp_path):
    (_, one), (_, other) = runs("cb"), runs("lws")
    write_json(tmp_path / "record.json", read_json(one / "record.json"))
    (tmp_path / PREDICTOR).write_bytes((other / PREDICTOR).read_bytes())
    with pytest.raises(DataError, match=f"is of run {other.name}, but record.json beside it of {one.name}"):
        lt_bench.load(tmp_path)
    (tmp_path / PREDICTOR).write_bytes((one / PREDICTOR).read_bytes())
    assert lt_bench.load(tmp_path).run_id == one.name


def test_a_network_that_nothing_builds_again_is_named():
    with pytest.raises(NotKept, match="nn.modules.activation.ReLU has no method settings"):
        node_of(nn.ReLU())


def test_a_pruned_branch_is_kept_as_a_plain_network():
    torch.manual_seed(0)
    network = TinyEncoder()
    branch = PrunedBranch(network)
    branch.set_masks([torch.rand_like(weight) > 0.4 for weight in branch.weights(network)])
    branch.norms[0].running_mean.fill_(0.3)
    pruned = PrunedEncoder(network, branch).eval()
    merged, images = pruned.merged().eval(), torch.rand(2, 3, 8, 8)
    assert torch.equal(merged(images), pruned(images)) and not torch.equal(merged(images), network.eval()(images))


def test_wrapped_networks_are_built_again_from_their_nodes():
    from lt_bench.models.input_normalization import InputNormalization
    from lt_bench.models.pool import InputPool

    own = {"_target_": "lt_bench.models.tiny.TinyEncoder"}
    network = InputNormalization(InputPool(2, TinyEncoder()))
    again = rebuilt(node_of(network, own), load_target)
    again.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(again.eval()(images), network.eval()(images))


def test_classes_of_archives_have_names():
    for archive in (CIFAR10, CIFAR100):
        assert len(set(archive.classes)) == archive.num_classes
        assert list(archive.classes) == sorted(archive.classes)


def test_the_record_has_the_names(runs):
    _, folder = runs("cb")
    assert read_json(folder / "record.json")["class_names"] == [*"0123456789"]
