"""Maps of an encoder before they are pooled: the last, or those of every stage."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def has_maps(encoder: nn.Module) -> bool:
    """Whether ``spatial_maps`` takes this encoder: it has a method ``maps``, or is a network of torchvision's kind."""
    inside = getattr(encoder, "encoder", None)  # of what stands in front of another encoder
    if isinstance(inside, nn.Module):
        return callable(getattr(encoder, "maps", None)) and has_maps(inside)
    return callable(getattr(encoder, "maps", None)) or hasattr(encoder, "avgpool")


def spatial_maps(encoder: nn.Module, images: Tensor) -> Tensor:
    """The maps (B, D, H', W') of images (B, 3, H, W), whose mean over all pixels are the encoder's features."""
    if callable(own := getattr(encoder, "maps", None)):
        maps: Tensor = own(images)
        return maps
    for name, part in encoder.named_children():
        if name == "avgpool":
            break
        images = part(images)
    return images


def stage_maps(encoder: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """The maps of every stage of an encoder, (B, D_i, H_i, W_i) each; of most encoders the last alone.

    Networks of torchvision's kind have a stage in each part whose name begins with ``layer``.
    """
    if callable(getattr(encoder, "maps", None)):
        return (spatial_maps(encoder, images),)
    found, maps = list[Tensor](), images
    for name, part in encoder.named_children():
        if name == "avgpool":
            break
        maps = part(maps)
        if name.startswith("layer"):
            found.append(maps)
    return tuple(found) or (maps,)


def enlarged(logits: Tensor, size: torch.Size) -> Tensor:
    """Maps (N, C, h, w) in float32 or finer at the size of masks (N, H, W): bilinear, without aligned corners."""
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.interpolate(precise, tuple(size[-2:]), mode="bilinear", align_corners=False)
