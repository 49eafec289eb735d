"""What the modules about schemas share: the two ways in which a schema cannot be followed."""

from __future__ import annotations

__all__ = ["NotKept", "Unreadable"]


class Unreadable(Exception):
    """A schema that means nothing, or under which nothing is valid; the text says why and where."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class NotKept(Exception):
    """Something that no grammar here can keep; the text is why."""
