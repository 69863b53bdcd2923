"""Random numbers as functions of (seed, stream, key): no state is carried from step to step."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, stream: str, *key: int) -> int:
    """A 63-bit seed that is a function of its arguments alone."""
    text = ":".join(map(str, (seed, stream, *key)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derived_generator(device: torch.device, seed: int, stream: str, *key: int) -> torch.Generator:
    """A fresh generator on a device, seeded by ``derived_seed``."""
    return torch.Generator(device).manual_seed(derived_seed(seed, stream, *key))
