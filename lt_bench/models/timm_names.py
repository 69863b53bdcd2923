"""Names of timm's networks and of their weights, read from its sources: nothing is imported for that."""

from __future__ import annotations

TIMM = "lt_bench.models.timm_encoder.TimmEncoder"
