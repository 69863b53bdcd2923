"""AutoAugment's and RandAugment's operations as the Python Imaging Library does them, one image at a time."""

import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.nn import functional as F
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

NEAREST, BILINEAR, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC

TABLES = ("AutoContrast", "Equalize", "Invert", "Posterize", "Solarize", "SolarizeAdd", "Brightness", "Contrast")
BLENDS = ("Color", "Sharpness")
MOVES = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
NAMES = (*TABLES, *BLENDS, *MOVES)


def by_table(image, entry):
    return image.point([entry(level) for level in range(256)] * 3)


def posterize(image, bits):
    # as ImageOps.posterize, which newer versions refuse for 0 bits
    return by_table(image, lambda level: level & ~(2 ** (8 - int(bits)) - 1))


def solarize_add(image, addition):
    return by_table(image, lambda level: min(255, level + int(addition)) if level < 128 else level)


def enhanced(kind):
    return lambda image, factor: kind(image).enhance(factor)


COLOR_OPERATIONS = {
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
    "Posterize": posterize,
    "Solarize": ImageOps.solarize,
    "SolarizeAdd": solarize_add,
    "Brightness": enhanced(ImageEnhance.Brightness),
    "Contrast": enhanced(ImageEnhance.Contrast),
    "Color": enhanced(ImageEnhance.Color),
    "Sharpness": enhanced(ImageEnhance.Sharpness),
}


def transformed(image, name, strength, resampling, fill):
    """Strength in degrees, slope, or share of the width or height."""
    if name == "Rotate":
        return image.rotate(strength, resampling, fillcolor=fill)
    coefficients = {
        "ShearX": (1, strength, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, strength, 1, 0),
        "TranslateX": (1, 0, strength * image.width, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, strength * image.height),
    }
    return image.transform(image.size, Image.Transform.AFFINE, coefficients[name], resampling, fillcolor=fill)


def on_pil(image, name, strength, resampling=NEAREST, fill=(128, 128, 128)):
    """One operation on a uint8 image (3, H, W)."""
    picture = to_pil_image(image)
    if name in COLOR_OPERATIONS:
        return pil_to_tensor(COLOR_OPERATIONS[name](picture, strength))
    return pil_to_tensor(transformed(picture, name, strength, resampling, fill))


def sample_images(count, height=32, width=32, seed=0):
    """uint8 images (count, 3, height, width): noise, smooth colours, few levels; the last is of a single level."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, height, width), generator=generator)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1).mul(220).long() + 10
    images[1::3] = smooth[1::3]
    images[2::3] = images[2::3] // 50 + 90
    images[-1] = 77
    return images.to(torch.uint8)
