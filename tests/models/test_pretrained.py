"""Weights from files: what is read, what is refused and how it is said; which convolutions are trained."""

import argparse
import json
import struct
import traceback

import numpy as np
import pytest
import torch
from torch import nn

from lt_bench.errors import SettingError, UsageError, keyed
from lt_bench.models import resnet
from lt_bench.models.prefixes import tensors_in
from lt_bench.models.pretrained import freeze_convolutions, load_pretrained
from lt_bench.models.resnet_cifar import CifarResNet
from lt_bench.models.tiny import TinyEncoder

KINDS = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}


@pytest.fixture
def donor():
    torch.manual_seed(1)
    return TinyEncoder()


def save_safetensors(path, state):
    """The published layout, written by hand."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in state.items():
        data = tensor.contiguous().numpy().tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def named(prefix, state):
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def another(state):
    """The tensors of a network that is trained otherwise."""
    return {key: tensor + 1 for key, tensor in state.items()}


HEAD = {"fc.weight": torch.zeros(2, 64), "fc.bias": torch.zeros(2)}
# What wraps the encoder's state in files of other code, and the prefix that is found.
FORMS = {
    "plain": (lambda s: s, ""),
    # before PyTorch 0.4.1 batch norms did not count
    "old": (lambda s: {key: tensor for key, tensor in s.items() if not key.endswith("num_batches_tracked")}, ""),
    "wrapped": (lambda s: {"epoch": 3, "state_dict": s}, "state_dict."),
    "parallel": (lambda s: named("module.", s), "module."),
    "with fc": (lambda s: {**s, **HEAD}, ""),
    "run of lt_bench": (lambda s: {"model": {**named("encoder.", s), "head.weight": torch.ones(1)}}, "model.encoder."),
    "moco": (
        lambda s: {
            "state_dict": {
                **named("module.encoder_q.", {**s, **HEAD}), **named("module.encoder_k.", another(s)),
                "module.queue": torch.zeros(3, 3),
            }
        },
        "state_dict.module.encoder_q.",
    ),
    "moco v3": (
        lambda s: {"state_dict": {**named("module.momentum_encoder.", another(s)), **named("module.base_encoder.", s)}},
        "state_dict.module.base_encoder.",
    ),
    "supcon": (lambda s: {"model": {**named("encoder.module.", s), "head.0.weight": HEAD["fc.weight"]}},
               "model.encoder.module."),
    "simclr": (lambda s: {**named("convnet.", s), "projector.0.weight": torch.zeros(2, 2)}, "convnet."),
    "f": (lambda s: named("f.", s), "f."),
    "compiled": (lambda s: named("_orig_mod.", s), "_orig_mod."),
    "compiled inside": (
        lambda s: {f"net.{key.replace('layers.', 'layers._orig_mod.')}": value for key, value in s.items()}, "net."
    ),
    "compiled and parallel": (lambda s: named("module._orig_mod.encoder.", s), "module._orig_mod.encoder."),
    "lightning": (lambda s: {"state_dict": named("model.encoder.net.", s), "loops": {"fit": {0: 1}}},
                  "state_dict.model.encoder.net."),
    "solo-learn": (
        lambda s: {"state_dict": {**named("momentum_backbone.", another(s)), **named("backbone.", s), **HEAD}},
        "state_dict.backbone.",
    ),
    "teacher alone": (lambda s: {"teacher": named("backbone.", s), "student": {}}, "teacher.backbone."),
    "ema alone": (lambda s: {"ema": named("module.", s)}, "ema.module."),
    "the same twice": (lambda s: {"net": dict(s), "model_state_dict": dict(s)}, "net."),
    "vissl": (lambda s: {"classy_state_dict": {"base_model": {"model": {"trunk": named("_feature_blocks.", s)}}}},
              "classy_state_dict.base_model.model.trunk._feature_blocks."),
    "half precision": (
        lambda s: {key: value.half() if value.is_floating_point() else value for key, value in s.items()}, ""
    ),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["pth", "bin", "legacy.pt", "safetensors", "safetensors.pth"])
@pytest.mark.parametrize("form", FORMS)
def test_weights_in_every_form(form, suffix, donor, tmp_path):
    make, prefix = FORMS[form]
    made, path = make({key: value.half().to(value.dtype) for key, value in donor.state_dict().items()}), tmp_path
    path = tmp_path / f"weights.{suffix}"
    if suffix.startswith("safetensors"):  # nothing is nested there
        save_safetensors(path, tensors_in(made))
    else:
        torch.save(made, path, _use_new_zipfile_serialization=suffix != "legacy.pt")
    encoder = TinyEncoder()
    loaded = load_pretrained(encoder, str(path), "tiny")
    for key, tensor in encoder.state_dict().items():
        if key in made or not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, donor.state_dict()[key].half().to(tensor.dtype)), key
    assert (loaded.prefix, loaded.tensors, loaded.of, loaded.random) == (prefix, 15, 15, [])


def test_what_is_left_out_and_what_else_is_there_is_said(donor, tmp_path):
    make, _ = FORMS["moco"]
    torch.save(make(donor.state_dict()), tmp_path / "weights.pth")
    loaded = load_pretrained(TinyEncoder(), str(tmp_path / "weights.pth"), "tiny")
    assert str(loaded) == (
        "all 15 tensors of the encoder under the prefix state_dict.module.encoder_q.; left out: "
        "state_dict.module.encoder_k (18), state_dict.module.encoder_q.fc (2), state_dict.module.queue (1)"
    )
    assert loaded.others == ["state_dict.module.encoder_k."]
    assert loaded.recorded() == {
        "prefix": "state_dict.module.encoder_q.", "tensors": 15, "of": 15, "others": loaded.others,
        "left_out": {
            "state_dict.module.encoder_k": 18, "state_dict.module.encoder_q.fc": 2, "state_dict.module.queue": 1
        },
    }  # fmt: skip


def test_several_networks_are_a_choice_for_the_user(donor, tmp_path):
    path, state = str(tmp_path / "weights.pth"), donor.state_dict()
    torch.save({"student": named("module.backbone.", state), "teacher": named("backbone.", another(state))}, path)
    with pytest.raises(UsageError) as caught, keyed("backbone"):
        load_pretrained(TinyEncoder(), path, "tiny")
    assert str(caught.value) == (
        f"backbone.weights_prefix is one of teacher.backbone., student.module.backbone., as {path} has several "
        "networks, not None; set backbone.weights_prefix=teacher.backbone."
    )
    for prefix in ("teacher.backbone.", "teacher.backbone"):
        encoder = TinyEncoder()
        assert load_pretrained(encoder, path, "tiny", prefix).prefix == "teacher.backbone."
        assert torch.equal(encoder.state_dict()["layers.0.weight"], state["layers.0.weight"] + 1)
    for prefix in ("module.backbone.", "student", "module"):
        assert load_pretrained(TinyEncoder(), path, "tiny", prefix).prefix == "student.module.backbone."
    for prefix in ("backbone.", "modul", ""):  # the first: both end so
        with pytest.raises(SettingError, match=r"weights_prefix is one of .*teacher\.backbone\."):
            load_pretrained(TinyEncoder(), path, "tiny", prefix)


def test_the_network_that_a_prefix_names_is_taken_though_another_is_obvious(donor, tmp_path):
    make, _ = FORMS["moco"]
    torch.save(make(donor.state_dict()), tmp_path / "weights.pth")
    encoder = TinyEncoder()
    load_pretrained(encoder, str(tmp_path / "weights.pth"), "tiny", "module.encoder_k")
    assert torch.equal(encoder.state_dict()["layers.0.weight"], donor.state_dict()["layers.0.weight"] + 1)


@pytest.mark.parametrize("skipped", [(), ("maxpool",)], ids=["all", "without max-pool"])
def test_a_network_as_a_sequence_of_its_parts(skipped, tmp_path):
    torch.manual_seed(2)
    donor = resnet.resnet10()
    parts = [part for name, part in donor.named_children() if name not in (*skipped, "fc")]
    torch.save(named("backbone.", nn.Sequential(*parts).state_dict()), tmp_path / "weights.pth")
    encoder = resnet.resnet10()
    assert load_pretrained(encoder, str(tmp_path / "weights.pth"), "resnet10").prefix == "backbone."
    assert all(torch.equal(tensor, donor.state_dict()[key]) for key, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("shortcut", ["shortcut", "downsample"])
def test_networks_for_small_images_under_the_names_of_other_code(shortcut, tmp_path):
    torch.manual_seed(3)
    donor = CifarResNet((1, 1), (4, 8), "projection", "default")
    names = (("stem.0.", "conv1."), ("stem.1.", "bn1."), ("stages.0.", "layer1."), ("stages.1.", "layer2."),
             (".shortcut.", f".{shortcut}."))  # fmt: skip
    state = {}
    for key, tensor in donor.state_dict().items():
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        state[key] = tensor
    assert "layer2.0.bn2.weight" in state and f"layer2.0.{shortcut}.0.weight" in state
    torch.save(
        {"state_dict": named("module.", {**state, "linear.weight": torch.zeros(2, 8)})}, tmp_path / "weights.pth"
    )
    encoder = CifarResNet((1, 1), (4, 8), "projection", "default")
    assert load_pretrained(encoder, str(tmp_path / "weights.pth"), "x").left_out == {"state_dict.module.linear": 1}
    assert all(torch.equal(tensor, donor.state_dict()[key]) for key, tensor in encoder.state_dict().items())


def test_what_does_not_fit_is_said(donor, tmp_path):
    state = dict(donor.state_dict())
    state["layers.0.weight"] = torch.zeros(16, 3, 7, 7)
    state["layers.30.weight"] = state.pop("layers.3.weight")
    torch.save({"net": state}, tmp_path / "weights.pth")
    path = str(tmp_path / "weights.pth")
    with pytest.raises(UsageError) as caught, keyed("backbone"):
        load_pretrained(TinyEncoder(), path, "tiny")
    assert str(caught.value) == (
        "backbone.pretrained is weights that fit tiny (under the prefix net.: 1 missing: layers.3.weight; 1 of another "
        "shape: layers.0.weight (16, 3, 7, 7) for (16, 3, 3, 3); 1 not in the encoder: net.layers.30.weight; "
        f"weights_partial=true takes the 13 of 15 that fit), not {path!r}; set backbone.pretrained=FILE"
    )


def test_a_part_of_the_weights_is_taken_where_that_is_asked(donor, tmp_path):
    state = dict(donor.state_dict())
    del state["layers.0.weight"]
    state["layers.3.weight"] = torch.zeros(32, 16, 1, 1)
    torch.save(named("module.", state), tmp_path / "weights.pth")
    encoder = TinyEncoder()
    before = {key: tensor.clone() for key, tensor in encoder.state_dict().items()}
    loaded = load_pretrained(encoder, str(tmp_path / "weights.pth"), "tiny", partial=True)
    assert (loaded.tensors, loaded.random) == (13, ["layers.0.weight", "layers.3.weight"])
    assert "13 of 15 tensors" in str(loaded) and "start as the seed says: layers.0.weight, layers.3.weight" in str(
        loaded
    )
    for key, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, (before if key in loaded.random else state)[key]), key


def test_a_larger_network_of_which_the_encoder_is_a_part_is_not_taken_for_it(tmp_path):
    torch.save(resnet.resnet18().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(SettingError, match=r"fit resnet10 \(under their own names: 48 not in the encoder: layer1\.1\."):
        load_pretrained(resnet.resnet10(), str(tmp_path / "weights.pth"), "resnet10")


@pytest.mark.parametrize("wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_a_larger_network_is_known_by_its_names_though_its_parts_are_wrapped(wrapper, tmp_path):
    def wrapped(key):
        part, _, rest = key.partition(".")
        return f"net.{wrapper}.{part}.{wrapper}.{rest}"

    for network in (resnet.resnet10(), resnet.resnet18()):
        torch.save({wrapped(key): value for key, value in network.state_dict().items()}, tmp_path / "weights.pth")
        if len(network.layer1) == 1:
            assert load_pretrained(resnet.resnet10(), str(tmp_path / "weights.pth"), "resnet10").prefix == "net."
    with pytest.raises(SettingError, match=rf"48 not in the encoder: net\.{wrapper}\.layer1\.{wrapper}\.1\."):
        load_pretrained(resnet.resnet10(), str(tmp_path / "weights.pth"), "resnet10")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: {"other": torch.zeros(2)},
            r"none of its 15 tensors \(layers\.0\.weight, \.\.\.\) is in it; it has 1",
        ),
        (lambda s: {}, "it has no tensors"),
        (lambda s: {"epoch": 3}, "it has no tensors"),
        (
            lambda s: {**s, "layers.0.weight": s["layers.0.weight"] * torch.nan},
            "finite numbers .not so: layers.0.weight",
        ),
        (lambda s: {**s, "layers.0.weight": s["layers.0.weight"].double() * 1e300}, "finite numbers"),
        (lambda s: {**s, "layers.0.weight": s["layers.0.weight"].to(torch.int8)}, r"\(16, 3, 3, 3\) of torch.int8 for"),
        (lambda s: {**s, "layers.0.weight": s["layers.0.weight"].to_sparse()}, "1 of another shape: layers.0.weight"),
        (lambda s: {**s, "layers": {"0.weight": torch.zeros(1)}}, "two tensors of the name layers.0.weight"),
        (lambda s: [s], "no dictionary, but list"),
        (lambda s: s["layers.0.weight"], "no dictionary, but Tensor"),
    ],
)
def test_what_is_in_a_file_and_is_no_encoder(change, said, donor, tmp_path):
    torch.save(change(donor.state_dict()), tmp_path / "weights.pth")
    with pytest.raises(SettingError, match=said):
        load_pretrained(TinyEncoder(), str(tmp_path / "weights.pth"), "tiny")


def test_a_dictionary_inside_itself_ends(donor, tmp_path):
    state = {"state_dict": donor.state_dict()}
    state["again"] = state
    torch.save(state, tmp_path / "weights.pth")
    assert load_pretrained(TinyEncoder(), str(tmp_path / "weights.pth"), "tiny").prefix == "state_dict."


@pytest.mark.parametrize("legacy", [False, True])
def test_numbers_of_numpy_beside_the_weights_are_passed_over(legacy, donor, tmp_path):
    path, state = tmp_path / "weights.pth", donor.state_dict()
    beside = {"best": np.float64(0.5), "epoch": np.int64(3), "loss": np.float32(2), "was_best": np.bool_(True)}
    torch.save({"state_dict": state, **beside}, path, _use_new_zipfile_serialization=not legacy)
    encoder = TinyEncoder()
    assert load_pretrained(encoder, str(path), "tiny").tensors == 15
    assert torch.equal(encoder.state_dict()["layers.0.weight"], state["layers.0.weight"])
    assert np.dtype("f8").byteorder == "="


class SwapsBytes:
    """A pickle that would make all numbers of NumPy of the other byte order."""

    def __reduce__(self):
        return np.dtype, ("f8", False, False), (3, ">", None, None, None, -1, -1, 0)


def test_a_file_reaches_nothing_of_numpy(donor, tmp_path):
    torch.save({"state_dict": donor.state_dict(), "swap": SwapsBytes()}, tmp_path / "weights.pth")
    load_pretrained(TinyEncoder(), str(tmp_path / "weights.pth"), "tiny")
    assert np.dtype("f8").byteorder == "="


def test_a_negative_variance_is_refused(donor, tmp_path):
    state = donor.state_dict()
    name = next(key for key in state if key.endswith("running_var"))
    torch.save({**state, name: state[name] - 5}, tmp_path / "weights.pth")
    with pytest.raises(SettingError, match=rf"variances of 0 or more \(not so: {name}\)"):
        load_pretrained(TinyEncoder(), str(tmp_path / "weights.pth"), "tiny")


FLOATS = {kind for kind in vars(torch).values() if isinstance(kind, torch.dtype) and kind.is_floating_point}


@pytest.mark.parametrize("kind", sorted(FLOATS, key=str), ids=str)
def test_every_format_of_floats_is_converted_or_refused(kind, donor, tmp_path):
    """Of weights that are there twice, so that they are compared, too; some formats can only be stored."""
    own = {key: one for key, one in donor.state_dict().items() if one.is_floating_point()}
    bytes_of = {key: torch.zeros(one.shape, dtype=torch.uint8) for key, one in own.items()}
    converted = kind.itemsize > 1 or "float8" in str(kind)
    state = {key: torch.ones_like(own[key]).to(kind) if converted else one.view(kind) for key, one in bytes_of.items()}
    torch.save({f"{prefix}.{key}": one for prefix in "ab" for key, one in state.items()}, tmp_path / "weights.pth")
    encoder = TinyEncoder()
    if converted:
        assert load_pretrained(encoder, str(tmp_path / "weights.pth"), "tiny").tensors == len(own)
        assert all(bool((one == 1).all()) for one in encoder.state_dict().values() if one.is_floating_point())
    else:
        with pytest.raises(SettingError, match=str(kind)):
            load_pretrained(encoder, str(tmp_path / "weights.pth"), "tiny")


class Code:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("inside", "named"),
    [(Code, "builtins.print"), (lambda: argparse.Namespace(lr=1), "argparse.Namespace"),
     (TinyEncoder, "lt_bench.models.tiny.TinyEncoder")],
)  # fmt: skip
def test_objects_in_a_file_are_named_and_not_read(inside, named, legacy, donor, tmp_path, capsys):
    path = tmp_path / "weights.pth"
    torch.save({"opt": inside(), "model": donor.state_dict()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(SettingError) as caught:
        load_pretrained(TinyEncoder(), str(path), "tiny")
    said = str(caught.value).replace("__builtin__", "builtins")
    assert f"with Python objects in it ({named}" in said and "weights_only" not in said and "\n" not in said
    assert "weights_only" not in "".join(traceback.format_exception(caught.value))  # also in the trace of a run
    assert "run" not in capsys.readouterr().out


def test_a_damaged_byte_of_a_weight_is_found(donor, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(donor.state_dict(), path)
    content = bytearray(path.read_bytes())
    content[content.find(donor.state_dict()["layers.3.weight"].numpy().tobytes()) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(SettingError, match="this one: damaged"):
        load_pretrained(TinyEncoder(), str(path), "tiny")


def test_only_the_named_convolutions_are_trained():
    with torch.device("meta"):
        encoder = resnet.resnet18()
    freeze_convolutions(encoder, ["layer4.1", "conv1"])
    trained = {key for key, parameter in encoder.named_parameters() if parameter.requires_grad}
    convolutions = {f"{key}.weight" for key, part in encoder.named_modules() if isinstance(part, nn.Conv2d)}
    assert trained & convolutions == {"conv1.weight", "layer4.1.conv1.weight", "layer4.1.conv2.weight"}
    assert trained - convolutions == {key for key, _ in encoder.named_parameters()} - convolutions  # batch norms
    freeze_convolutions(encoder, [])
    assert not any(part.weight.requires_grad for part in encoder.modules() if isinstance(part, nn.Conv2d))


def test_a_name_that_no_convolution_is_below():
    with pytest.raises(SettingError, match=r"a list of modules with convolutions \(layers.*, not 'layers\.00'"):
        freeze_convolutions(TinyEncoder(), ["layers.00"])
