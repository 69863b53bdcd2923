"""The tiny vision transformer of the golden vectors of LIFT, as timm builds it."""

from functools import partial

import timm.models.vision_transformer as of_timm
import torch
from torch import nn

from helpers.golden_vectors import golden

BASE = golden("lift_vit_base")


def tiny_vit(in21k=False, dtype=torch.float64):
    """The network with its weights: CLIP's form, or that of ImageNet-21k."""
    eps = 1e-6 if in21k else 1e-5
    network = of_timm.VisionTransformer(
        img_size=24, patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=0, pre_norm=not in21k,
        act_layer=nn.GELU if in21k else "quick_gelu", norm_layer=partial(nn.LayerNorm, eps=eps),
    )  # fmt: skip
    state = {name.removeprefix("w__"): value for name, value in BASE.items() if name.startswith("w__")}
    state = {name: value for name, value in state.items() if not name.startswith("head.")}
    if in21k:
        state = {name: value for name, value in state.items() if not name.startswith("norm_pre")}
        state["patch_embed.proj.bias"] = BASE["w_in21k__patch_embed.proj.bias"]
    network.load_state_dict({name: value.to(dtype) for name, value in state.items()}, strict=True)
    network.feature_dim = 16
    return network.to(dtype)


def by_golden_name(network):
    """The parameters of modules in the blocks of a transformer under the names of the golden vectors."""
    found = {}
    for name, parameter in network.named_parameters():
        words = name.split(".")
        if "blocks" not in words:
            continue
        number, *rest = words[words.index("blocks") + 1 :]
        kept = [word for word in rest if word not in ("block", "beside", "behind", "prompts", "attn", "mlp", "layer")]
        found[f"block{number}_{'_'.join(kept)}".replace("_qkv_q_", "_q_").replace("_qkv_v_", "_v_")] = parameter
    return found
