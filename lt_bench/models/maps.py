"""The last maps of an encoder, before they are pooled."""

from __future__ import annotations

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
