"""The named policies: what each trades for what."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["PRESETS"]

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "balanced": {
        "objective": {"quality": 0.6, "cost": 0.3, "latency": 0.1, "enough": 0.75},
        "min_quality": 0.5,
    },
    "cheapest": {
        "objective": {"quality": 0.05, "cost": 0.9, "latency": 0.05},
        "min_quality": 0.5,
    },
    "best": {"objective": {"quality": 1.0, "cost": 0.0, "latency": 0.0}},
    "fastest": {
        "objective": {"quality": 0.05, "cost": 0.05, "latency": 0.9},
        "min_quality": 0.5,
    },
    "private": {
        "objective": {"quality": 0.8, "cost": 0.0, "latency": 0.2},
        "min_quality": 0.5,
        "location": "local",
    },
}
"""Fields of :class:`~modelrouter.policies.base.Policy` by preset name."""
