"""What belongs to the process that made it, and cannot be taken elsewhere."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

from modelrouter.exceptions import ConfigurationError

__all__ = ["OfOneProcess"]


class OfOneProcess:
    """Refuses to be pickled or copied, in words: it holds threads, connections, memory, a file."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: SupportsIndex, /) -> NoReturn:
        name = type(self).__name__
        raise ConfigurationError(
            f"This {name} can be neither pickled nor copied: it holds what belongs to its process.",
            hint="Make one in each process; cards, policies, tasks, decisions and replies can be.",
        )
