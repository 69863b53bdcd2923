"""Modules in the blocks of a vision transformer, against the authors' networks."""

import copy

import numpy as np
import pytest
import torch

pytest.importorskip("timm")

from helpers.golden_vectors import FOLDER, golden
from helpers.tiny_vit import BASE, by_golden_name, tiny_vit
from torch import nn

from lt_bench.errors import SettingError
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from lt_bench.models.adapted import attach, usual_size, without_modules
from lt_bench.models.adapters import Bottleneck, LowRank, Masked, Prompts, ScaledShifted, shared_positions
from lt_bench.models.finetuned import FineTuned
from lt_bench.models.heads import NormalizedLinear

CLOSE = {"rtol": 1e-6, "atol": 1e-9}
OPTIONS = {
    "a": ["head_only", "adaptformer", "adapter", "lora", "vpt_shallow", "vpt_deep"],
    "b": ["bitfit", "layernorm", "ssf", "full_last1", "adaptformer_last1", "adaptformer_first", "bitfit_last1"],
    "c": ["masked"],
}
KINDS = {"head_only": "head", "full_last1": "blocks", "masked": "arbitrary", "bitfit_last1": "bitfit"}
SIZES = {"adaptformer": 4, "adapter": 4, "lora": 4, "vpt_shallow": 3, "vpt_deep": 3, "masked": 0.05}


def fine_tuned(option, network):
    """The network of an option of the golden vectors."""
    blocks = {"last1": 1, "first": [0, 1]}.get(option.rpartition("_")[2])
    kind = KINDS.get(option, option if blocks is None else option.rpartition("_")[0])
    size = 2 if blocks is not None and kind == "adaptformer" else SIZES.get(option)
    found = FineTuned(network, kind, size, blocks, num_classes=7, ignore_blocks=option == "bitfit_last1")
    return found.to(network.norm.weight.dtype)


def results(network, dtype, number=4):
    """Features, logits and loss of the cosine classifier on it, with all gradients at hand."""
    head = NormalizedLinear(16, 7, 25.0).to(dtype)
    head.weight.data = BASE["head_weight"].T.to(dtype).clone()
    features = network(BASE["images"].to(dtype))
    logits = head(features)
    loss = logit_adjusted_cross_entropy(logits, BASE["labels"], log_prior(BASE["counts"]).to(dtype), 1.0)
    loss.backward()
    return features, logits, loss, head.weight.grad.T


def compared(network, found, case, tolerance, loss_tolerance):
    """Compare what a network gives with a case of the golden vectors."""
    features, logits, loss, of_head = found
    torch.testing.assert_close(loss.detach(), case["loss"].to(loss.dtype), **loss_tolerance)
    if "features" in case:
        torch.testing.assert_close(features.detach(), case["features"].to(loss.dtype), **tolerance)
    torch.testing.assert_close(logits.detach(), case["logits"].to(loss.dtype), **tolerance)
    torch.testing.assert_close(of_head, case["grad_head_weight"].to(loss.dtype), **tolerance)
    own = by_golden_name(network)
    named = {f"w__{name.removeprefix('encoder.')}": one for name, one in network.named_parameters()}
    for name, expected in case.items():
        if name.startswith("grad_") and name != "grad_head_weight":
            parameter = {**own, **named}[name.removeprefix("grad_")]
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(gradient, expected.to(gradient.dtype), **tolerance, msg=name)


def set_parameters(network, case):
    own = by_golden_name(network)
    for name, value in case.items():
        if name.startswith("param_"):
            own[name.removeprefix("param_")].data.copy_(value)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(("file", "option"), [(file, option) for file, found in OPTIONS.items() for option in found])
def test_every_option_gives_what_the_authors_network_gives(file, option):
    """Of lift_vit_options_a, lift_vit_options_b and lift_vit_options_c."""
    case = golden(f"lift_vit_options_{file}", f"{option}_")
    network = fine_tuned(option, tiny_vit())
    assert set_parameters(network, case) == case["num_tuned"]
    compared(network, results(network, torch.float64), case, CLOSE, {"rtol": 1e-9, "atol": 0})
    frozen = [one for one in network.parameters() if not one.requires_grad]
    assert all(one.grad is None for one in frozen) and (frozen or option == "full")
    if "in21k_logits" in case:
        other = fine_tuned(option, tiny_vit(in21k=True))
        set_parameters(other, case)
        torch.testing.assert_close(results(other, torch.float64)[1].detach(), case["in21k_logits"], **CLOSE)


@pytest.mark.parametrize("option", ["head_only", "adaptformer", "lora", "vpt_deep"])
def test_options_in_single_precision(option):
    case = golden("lift_float32", f"{option}_")
    network = fine_tuned(option, tiny_vit(dtype=torch.float32))
    set_parameters(network, golden("lift_vit_options_a", f"{option}_"))
    compared(network, results(network, torch.float32), case, {"rtol": 2e-4, "atol": 5e-5}, {"rtol": 1e-5, "atol": 0})


def test_the_network_is_timms_and_its_activation_is_told_apart():
    """Against lift_vit_base."""
    with torch.no_grad():
        torch.testing.assert_close(tiny_vit()(BASE["images"].double()), BASE["features_clip"], **CLOSE)
        torch.testing.assert_close(tiny_vit(in21k=True)(BASE["images"].double()), BASE["features_in21k"], **CLOSE)
    assert (BASE["features_clip"] - BASE["features_clip_gelu_wrong"]).abs().max() > 1e-3


PLUS = {
    "prompt_deep": ("vpt_deep", 2, None, "all"),
    "prompt_last1": ("vpt_deep", 2, 1, "all"),
    "adaptformer_same": ("adaptformer", 4, None, "all"),
    "arbitrary_all": ("arbitrary", 0.1, None, "all"),
    "arbitrary_mlp": ("arbitrary", 0.1, None, "mlp"),
    "ssf": ("ssf", None, None, "all"),
}


def of_masks(case):
    """The names of trained entries as they are here: the authors keep whole tensors."""
    ends = {"_weight": "_values_weight", "_bias": "_values_bias"}
    found = {}
    for key, value in case.items():
        end = next((end for end in ends if key.endswith(end) and "_block" in key), "")
        found[key.removesuffix(end) + ends.get(end, "")] = value
    return found


@pytest.mark.parametrize("option", PLUS)
def test_the_forms_of_lift_plus(option):
    case = golden("liftplus_vit", f"{option}_")
    kind, size, blocks, part = PLUS[option]
    network = FineTuned(tiny_vit(), kind, size, blocks, num_classes=7, form="lift_plus", part=part).double()
    masks = {key: value for key, value in case.items() if key.startswith("mask_")}
    if kind == "arbitrary":
        case = of_masks({key: value for key, value in case.items() if key not in masks})
    tuned = set_parameters(network, case)
    if option == "adaptformer_same":
        set_parameters(network, golden("lift_vit_options_a", "adaptformer_"))
    assert tuned == case["num_tuned"]
    compared(network, results(network, torch.float64), case, CLOSE, {"rtol": 1e-9, "atol": 0})
    for key, value in masks.items():
        _, _, layer, _, which, half = key.split("_")
        place = {"in_attn": "qkv", "out_attn": "proj", "in_mlp": "fc1", "out_mlp": "fc2"}[f"{layer}_{half}"]
        masked = network.get_submodule(f"encoder.blocks.0.{half}.{place}")
        assert getattr(masked, f"{which}_positions").tolist() == value.flatten().nonzero().flatten().tolist()


@pytest.mark.parametrize("case", [0, 1])
def test_single_modules(case):
    def check(kind, module, parameters, inputs="x"):
        values = golden("lift_modules", f"c{case}_{kind}")
        for name, parameter in parameters.items():
            parameter.data = values[f"param_{name}" if f"param_{name}" in values else name].double().clone()
        x = values["x"].double().requires_grad_()
        out = module(x)
        torch.testing.assert_close(out.detach(), values["out"], **CLOSE)
        out.backward(values["grad_out"].double())
        torch.testing.assert_close(x.grad, values["grad_x"], **CLOSE)
        for name, parameter in parameters.items():
            torch.testing.assert_close(parameter.grad, values[f"grad_{name}"], **CLOSE)

    for kind in ("adaptformer", "adapter"):
        values = golden("lift_modules", f"c{case}_{kind}")
        size, width = values["param_down_weight"].shape
        module = Bottleneck(width, size, kind == "adaptformer").double()
        check(kind, module, {name.replace(".", "_"): one for name, one in module.named_parameters()})
    down = golden("lift_modules", f"c{case}_lora")["param_down"]
    module = LowRank(*down.shape).double()
    check("lora", module, {"down": module.down, "up": module.up})
    values = golden("lift_modules", f"c{case}_ssf")
    module = ScaledShifted(nn.Identity(), len(values["param_scale"])).double()
    check("ssf", module, {"scale": module.scale, "shift": module.shift})
    values = golden("lift_modules", f"c{case}_vpt")
    module = Prompts(*values["param_prompt"].T.shape, 1.0, values["x"].shape[1] - int(values["seq_len"])).double()
    check("vpt", module, {"prompt": module.prompt})
    values = golden("lift_modules", f"c{case}_masked")
    layer = nn.Linear(*values["weight"].T.shape).double()
    layer.weight.data, layer.bias.data = values["weight"].double(), values["bias"].double()
    layer.requires_grad_(False)
    positions = shared_positions(layer, float(values["ratio"]), torch.Generator().manual_seed(int(values["seed"])))
    for found, name in zip(positions, ("mask_weight", "mask_bias"), strict=True):
        assert found.tolist() == values[name].flatten().nonzero().flatten().tolist()
    module = Masked(layer, positions)
    check("masked", module, {"values_weight": module.values_weight, "values_bias": module.values_bias})


def test_modules_start_as_the_authors_do():
    data = golden("lift_modules", "init")
    module = Bottleneck(768, 64, scaled=True)
    exact = float(data["down_std_exact"])
    assert exact == pytest.approx((1 / (3 * 768)) ** 0.5, rel=1e-9)
    assert module.down.weight.std().item() == pytest.approx(exact, rel=0.02)
    assert not any(one.any() for one in (module.down.bias, module.up.weight, module.up.bias)) and module.scale == 1
    low = LowRank(768, 64)
    bound = float(data["lora_down_bound_fan64"])
    assert bound * 0.99 < low.down.abs().max() <= bound and not low.up.any()


@pytest.mark.parametrize("kind", ["adaptformer", "adapter", "lora", "arbitrary"])
def test_modules_that_start_neutral_leave_the_features_as_they_are_bit_for_bit(kind):
    images = BASE["images"].double()
    with torch.no_grad():
        plain = tiny_vit()(images)
        network = FineTuned(tiny_vit(), kind, num_classes=7).double()
        assert torch.equal(network(images), plain)


@pytest.mark.parametrize("kind", ["vpt_deep", "vpt_shallow", "ssf"])
def test_modules_that_do_not_can_be_left_out(kind):
    images = BASE["images"].double()
    with torch.no_grad():
        plain = tiny_vit()(images)
        network = FineTuned(tiny_vit(), kind, num_classes=7).double()
        assert not torch.allclose(network(images), plain)
        with without_modules(network):
            assert torch.equal(network(images), plain)


def test_only_the_last_matrices_of_neutral_modules_have_gradients_in_the_first_step():
    network = FineTuned(tiny_vit(), "adaptformer", num_classes=7).double()
    results(network, torch.float64)
    named = by_golden_name(network).items()
    moving = {name.split("_")[1] for name, one in named if one.grad is not None and one.grad.any()}
    assert moving == {"up"}


def counted(network, option, classes, form="lift"):
    """Trained parameters of an option of the counts, on a network without values."""
    last2 = option.endswith("last2")
    names = {"head_only": "head", "masked": "arbitrary", "full": "blocks", "prompt": "vpt_deep"}
    name = option.removesuffix("_last2")
    part = "mlp" if name.endswith("_mlp") else "all"
    kind = "arbitrary" if name.startswith("arbitrary") else names.get(name, name)
    tuned = FineTuned(network, kind, None, 2 if last2 else None, num_classes=classes, form=form, part=part)
    return sum(one.numel() for one in tuned.parameters() if one.requires_grad), tuned.given["size"]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "form"), [("lift_counts", "lift"), ("liftplus_counts", "lift_plus")])
def test_numbers_of_trained_parameters_of_large_networks(file, form):  # without values, as far as possible
    import timm

    data = np.load(FOLDER / f"{file}.npz")
    forms = {"clip_vit_b16": "base_patch16", "clip_vit_l14": "large_patch14"}
    models = {model: f"vit_{form}_clip_quickgelu_224" for model, form in forms.items()}
    with torch.device("meta"):
        networks = {model: timm.create_model(name, num_classes=0) for model, name in models.items()}
        for name, tuned, size in zip(data["names"], data["tuned"], data["size"], strict=True):
            model, option, classes = name.split("/")
            if option.startswith(("arbitrary", "masked")) and (classes != "100" or "l14" in model):
                continue  # seconds each
            network = copy.deepcopy(networks[model])
            network.feature_dim = network.num_features
            found, chosen = counted(network, option, int(classes), form)
            assert found == tuned, name
            assert size < 0 or chosen == pytest.approx(size, rel=1e-12), name


def test_usual_sizes():
    data, plus = np.load(FOLDER / "lift_counts.npz"), np.load(FOLDER / "liftplus_start.npz")
    for classes, size in zip(data["adapter_dim_classes"], data["adapter_dim_12_layers"], strict=True):
        assert usual_size("adaptformer", int(classes), 12, 768) == size
    for number, classes in enumerate(plus["classes"].tolist()):
        of = {"prompt_len": "vpt_deep", "lora_dim": "lora", "adapter_dim": "adaptformer"}
        for name, kind in of.items():
            assert usual_size(kind, classes, 12, 768, "lift_plus") == max(1, plus[f"{name}_12_layers"][number]), name
        for part, name in {"all": "all", "attention": "attn", "mlp": "mlp"}.items():
            share = usual_size("arbitrary", classes, 12, 768, "lift_plus", part)
            assert share == pytest.approx(plus[f"arbitrary_ratio_{name}"][number], rel=1e-12)
    assert usual_size("arbitrary", 1000, 12, 768) == 0.009 and usual_size("arbitrary", 100, 12, 768) == 0.001


def test_what_a_network_cannot_have_is_refused_with_the_reason():
    import timm

    from lt_bench.models.tiny import TinyEncoder

    with pytest.raises(SettingError, match="which is no plain vision transformer of timm"):
        FineTuned(TinyEncoder(), "lora", num_classes=7)
    with pytest.raises(SettingError, match="blocks is null, 1 to 3 last blocks"):
        FineTuned(tiny_vit(), "lora", 4, 4)
    with pytest.raises(SettingError, match="size is null for head"):
        FineTuned(tiny_vit(), "head", 4)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}
    for kind, options, said in (
        ("vpt_deep", {"global_pool": "avg"}, "pools by global_pool=avg: prompts would be pooled"),
        ("lora", {"block_fn": timm.models.vision_transformer.ResPostBlock}, "whose blocks are .*ResPostBlock"),
        ("arbitrary", {"qkv_bias": False}, "whose attention has no biases"),
    ):
        network = timm.models.vision_transformer.VisionTransformer(**sizes, **options)
        network.feature_dim = 16
        with pytest.raises(SettingError, match=said):
            FineTuned(network, kind, num_classes=7)


def test_a_mask_is_of_one_generator_for_all_layers():
    case = golden("lift_vit_options_c", "masked_")
    network = tiny_vit()
    attach(network, "arbitrary", 0.05)
    for block in range(3):
        for place, name in (("attn", "qkv"), ("attn", "proj"), ("mlp", "fc1"), ("mlp", "fc2")):
            masked = network.get_submodule(f"blocks.{block}.{place}.{name}")
            for which in ("weight", "bias"):
                mask = case[f"mask_block{block}_{name}_{which}"]
                assert getattr(masked, f"{which}_positions").tolist() == mask.flatten().nonzero().flatten().tolist()


def test_what_is_frozen_stays_in_evaluation_mode_and_is_known_by_a_checksum():
    network = FineTuned(tiny_vit(dtype=torch.float32), "adaptformer", num_classes=7).train()
    assert not any(part.training for part in network.encoder.modules())
    again = FineTuned(tiny_vit(dtype=torch.float32), "adaptformer", num_classes=7)
    assert torch.equal(network.frozen_sha256, again.frozen_sha256) and network.frozen_sha256.any()
    other = tiny_vit(dtype=torch.float32)
    other.norm.weight.data += 1
    assert not torch.equal(FineTuned(other, "adaptformer", num_classes=7).frozen_sha256, again.frozen_sha256)
    kept = network.state_dict().keys() - network.unchanged
    assert kept == {name for name, one in network.named_parameters() if one.requires_grad} | {"frozen_sha256"}
    full = FineTuned(tiny_vit(), "full").train()
    assert full.training and all(part.training for part in full.encoder.modules()) and not full.unchanged
