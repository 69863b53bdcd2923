"""Networks of timm: what their weights want, weights in every form, and what methods may ask of them."""

import copy
import hashlib

import numpy as np
import pytest
import torch
from helpers.golden_vectors import FOLDER
from safetensors.torch import save_file
from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.crops import CentralCrops
from lt_bench.errors import SettingError, UsageError
from lt_bench.methods.reslt import ResLT
from lt_bench.methods.sdclr import SDCLR
from lt_bench.models import timm_weights
from lt_bench.models.convolutions import convolution_share
from lt_bench.models.kept import node_of, rebuilt
from lt_bench.models.maps import has_maps, spatial_maps
from lt_bench.models.pretrained import freeze_convolutions, load_pretrained
from lt_bench.models.timm_encoder import TimmEncoder

timm = pytest.importorskip("timm", reason="pip install -e '.[timm]'")

VIT = "vit_tiny_patch16_224.augreg_in21k"
SHAPE = {"patch_size": 8, "depth": 2, "embed_dim": 32, "num_heads": 2}
SMALL = {"input_size": 32, **SHAPE}
INFO = TrainInfo(torch.arange(40) % 4, 4, 2)
MAPS = {
    "test_resnet": True,
    "test_efficientnet": True,
    "test_vit": False,  # a class token
    "test_convnext": False,  # a norm behind the pool
    "swin_tiny_patch4_window7_224": True,  # maps with channels last
}


def small_vit():
    torch.manual_seed(0)
    return TimmEncoder(VIT, **SMALL).eval()


def test_what_weights_want_is_what_timm_says():
    known = np.load(FOLDER / "finetune_configs.npz")
    names = known["names"].tolist()
    assert len(names) == 9
    for number, name in enumerate(names):
        found = TimmEncoder.wanted_input(model=name)
        assert found.size == known["size"][number] and found.interpolation == known["interpolation"][number]
        assert found.mean == tuple(known["mean"][number]) and found.std == tuple(known["std"][number])
        assert CentralCrops(found.size, found.crop_share).short_side == known["resize"][number]


def test_what_is_given_wins_over_what_weights_want():
    own = {"input_size": 64, "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "interpolation": "bilinear", "crop_share": 1}
    found = TimmEncoder.wanted_input(model=VIT, **own)
    assert found.recorded() == {key.replace("input_", ""): value for key, value in own.items()}


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "mobilenetv3_small_050"])
def test_features_are_timms_in_front_of_its_classifier(name, tmp_path):
    torch.manual_seed(0)
    whole = timm.create_model(name, num_classes=5).eval()
    torch.save({"state_dict": {f"module.{key}": one for key, one in whole.state_dict().items()}}, tmp_path / "w.pth")
    encoder = TimmEncoder(name, input_size=64).eval()
    loaded = load_pretrained(encoder, str(tmp_path / "w.pth"), name)
    assert (
        loaded.tensors
        == loaded.of
        == len([key for key in encoder.network.state_dict() if "num_batches_tracked" not in key])
    )
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        if name != "test_vit":  # which has other position embeddings for images of this size
            expected = whole.forward_head(whole.forward_features(images), pre_logits=True)
            assert torch.equal(encoder(images), expected)
        assert encoder(images).shape == (2, encoder.feature_dim)


def test_position_embeddings_of_another_size_are_resampled(tmp_path):
    torch.save(timm.create_model(VIT, num_classes=5, **SHAPE).state_dict(), tmp_path / "w.pth")
    assert load_pretrained(small_vit(), str(tmp_path / "w.pth"), VIT).random == []


def test_weights_in_the_form_of_open_clip(tmp_path):
    open_clip = pytest.importorskip("open_clip", reason="pip install -e '.[clip]'")
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"layers": 1, "width": 16, "heads": 2, "vocab_size": 8, "context_length": 4}
    clip = open_clip.model.CLIP(16, vision, text, quick_gelu=True).eval()
    torch.save(clip.state_dict(), tmp_path / "clip.pth")
    encoder = TimmEncoder("vit_base_patch16_clip_quickgelu_224.openai", **SMALL).eval()
    load_pretrained(encoder, str(tmp_path / "clip.pth"), "clip")
    images = torch.rand(2, 3, 32, 32)
    clip.visual.proj = None
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), clip.visual(images), rtol=1e-4, atol=1e-5)
    assert encoder.input.mean == (0.48145466, 0.4578275, 0.40821073)


def test_clip_with_another_activation_is_said():
    assert "QuickGELU" in TimmEncoder.wanted_input(model="vit_base_patch16_clip_224.openai").notes[0]
    assert TimmEncoder.wanted_input(model="vit_base_patch16_clip_quickgelu_224.openai").notes == ()


def test_weights_of_another_network_are_refused_with_what_does_not_fit(tmp_path):
    torch.save(timm.create_model(VIT, num_classes=5, **{**SHAPE, "depth": 3}).state_dict(), tmp_path / "w.pth")
    with pytest.raises(SettingError, match=r"not in the encoder: blocks\.2\.norm1\.weight"):
        load_pretrained(small_vit(), str(tmp_path / "w.pth"), VIT)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "vit_tiny"}, "model is a model of timm, such as"),
        ({"model": "resnet18.nobodys"}, "resnet18.a1_in1k"),
        ({"model": VIT, "patch": 3}, "a model of timm that can be built with patch=3"),
        ({"model": VIT, "checkpoint_path": "file.pth"}, "checkpoint_path is null here, which pretrained sets"),
        ({"model": VIT, "img_size": 64}, "img_size is null here, which input_size sets"),
        ({"model": VIT, "pretrained_cfg_overlay": {"file": "file.pth"}}, "pretrained_cfg_overlay is null here"),
        ({"model": "test_vit", "input_size": 33}, r"takes \(AssertionError: Input height \(33\) should be divisible"),
        ({"model": "test_vit", "input_size": 100_000}, "input_size is from 1 to 4096"),
        (
            {"model": VIT, **SMALL, "global_pool": ""},
            r"of 32 features per image .* \(not \(1, 17, 32\)\)",
        ),
        ({"model": "test_resnet", "global_pool": ""}, "features per image with these settings"),
        ({"model": VIT, "std": [0, 1, 1]}, "std is a list of three numbers above 0"),
        ({"model": VIT, "interpolation": "nearest"}, "interpolation is bilinear or bicubic"),
        ({"model": "hf-hub:somebody/network"}, "model is a model of timm"),
    ],
)
def test_what_cannot_be_is_refused(settings, said):
    with pytest.raises(SettingError, match=said):
        TimmEncoder(**settings)


def test_what_is_decided_elsewhere_may_be_null():
    encoder = TimmEncoder(VIT, **SMALL, num_classes=None, img_size=None)
    assert encoder.options == SHAPE


def test_without_timm_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'lt_bench\[timm\]'"):
        TimmEncoder(VIT)


def test_images_of_another_size_are_resized_by_the_network():
    encoder, images = small_vit(), torch.rand(2, 3, 8, 8)
    larger = nn.functional.interpolate(images, (32, 32), mode="bicubic")
    with torch.no_grad():
        assert torch.equal(encoder(images), encoder(larger))


def test_gradient_checkpointing_changes_no_gradient():
    images, gradients = torch.rand(4, 3, 32, 32), []
    for settings in ({}, {"grad_checkpointing": True}):
        torch.manual_seed(0)
        encoder = TimmEncoder(VIT, **SMALL, **settings).train()
        encoder(images).square().sum().backward()
        gradients.append([one.grad for one in encoder.parameters()])
    assert encoder.network.grad_checkpointing
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_it_is_built_again_and_copied():
    encoder, images = small_vit(), torch.rand(2, 3, 32, 32)
    again = rebuilt(node_of(encoder), lambda target: TimmEncoder)
    again.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        for other in (again.eval(), copy.deepcopy(encoder)):
            assert torch.equal(other(images), encoder(images))


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.slow
def test_maps_are_there_where_their_mean_is_the_features(name):
    encoder = TimmEncoder(name, input_size=None if name.startswith("swin") else 64).train()
    assert has_maps(encoder) == MAPS[name]
    assert encoder.training and encoder.network.training
    if has_maps(encoder):
        images = torch.rand(2, 3, encoder.input.size, encoder.input.size)
        with torch.no_grad():
            maps = spatial_maps(encoder.eval(), images)
            torch.testing.assert_close(maps.mean(dim=(2, 3)), encoder(images), rtol=1e-4, atol=1e-5)
        copied = copy.deepcopy(encoder)
        nn.init.zeros_(next(copied.parameters()))
        assert not torch.equal(spatial_maps(copied, images), maps)  # the copy's own network


def test_what_treats_convolutions_or_maps_alone_refuses_a_transformer():
    vit = small_vit()
    assert 0 < convolution_share(vit) < 0.5 < convolution_share(TimmEncoder("test_resnet"))
    with pytest.raises(UsageError, match="convolutions are pruned and this encoder has 19 % of its weights in them"):
        SDCLR(vit, INFO)
    with pytest.raises(SettingError, match=rf"block is pool_first with {VIT}"):
        ResLT(vit, INFO, block="block_first")
    with pytest.raises(SettingError, match="trainable_convolutions is null for a network that has"):
        freeze_convolutions(vit, [])


def test_convolutions_that_standardise_their_weights_are_not_pruned():
    """A masked weight would not be 0 any more."""
    assert convolution_share(TimmEncoder("test_nfnet")) < 0.1
    with pytest.raises(UsageError, match="has 8.1 %"):
        SDCLR(TimmEncoder("test_nfnet"), INFO)


def test_a_convolutional_network_of_timm_is_pruned_and_frozen():
    encoder = TimmEncoder("test_resnet", input_size=32)
    method = SDCLR(encoder, INFO)
    assert method.pruned_encoder(method.encoder, torch.rand(4, 3, 32, 32)).shape == (4, encoder.feature_dim)
    freeze_convolutions(encoder, ["layer4"])
    trained = {name for name, one in encoder.network.named_parameters() if one.requires_grad and one.ndim == 4}
    assert trained and all(name.startswith("layer4") for name in trained)


def test_fetched_weights_are_known_by_their_checksum(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    save_file(timm.create_model(VIT, **SHAPE, img_size=32, num_classes=5).state_dict(), file)
    monkeypatch.setattr("lt_bench.models.pretrained.fetched", lambda network: file)
    loaded = load_pretrained(small_vit(), "timm", VIT)
    assert loaded.recorded()["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest() and loaded.of == 30


def test_what_is_in_the_cache_needs_no_network(monkeypatch):
    asked = []

    def download(repository, name, local_files_only):
        asked.append((repository, name, local_files_only))
        if name.endswith(".bin"):
            return "/somewhere/pytorch_model.bin"
        raise LocalEntryNotFoundError("not here")

    huggingface_hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub.errors import LocalEntryNotFoundError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert timm_weights.fetched(small_vit().network).name == "pytorch_model.bin"
    assert asked == [(f"timm/{VIT}", name, True) for name in ("model.safetensors", "pytorch_model.bin")]


def test_weights_that_cannot_be_fetched_are_said_in_one_line(tmp_path, monkeypatch):
    def unknown(host, port):
        raise OSError("Name or service not known")

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(timm_weights, "getproxies", dict)
    monkeypatch.setattr(timm_weights.socket, "getaddrinfo", unknown)
    with pytest.raises(SettingError, match=rf"{VIT} cannot be fetched from https://huggingface.co/timm/"):
        load_pretrained(small_vit(), "timm", VIT)
    network = TimmEncoder("test_vit4").network  # nobody has published any
    with pytest.raises(SettingError, match="timm fetches no weights of test_vit4"):
        timm_weights.fetched(network)
