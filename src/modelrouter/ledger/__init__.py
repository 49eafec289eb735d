"""The ledger: what was decided, asked, answered and spent, kept in one SQLite file."""

from modelrouter.ledger.replay import Replay, Replayed, replay
from modelrouter.ledger.rows import AskedModel, Row
from modelrouter.ledger.store import Examples, Ledger, LedgerLike, TextPolicy
from modelrouter.ledger.summary import Group, summarise

__all__ = [
    "AskedModel",
    "Examples",
    "Group",
    "Ledger",
    "LedgerLike",
    "Replay",
    "Replayed",
    "Row",
    "TextPolicy",
    "replay",
    "summarise",
]
