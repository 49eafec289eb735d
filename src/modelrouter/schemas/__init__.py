"""JSON schemas as users write them: what a grammar can keep of one, and the check of an answer."""

from __future__ import annotations

from modelrouter.schemas.base import Unreadable
from modelrouter.schemas.checking import problem
from modelrouter.schemas.keeping import Kept, kept

__all__ = ["Kept", "Unreadable", "kept", "problem"]
