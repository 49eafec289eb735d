"""The ledger: what was decided, asked, answered and spent, kept in one SQLite file."""

from modelrouter.ledger.rows import AskedModel, Row
from modelrouter.ledger.store import Ledger, LedgerLike, TextPolicy

__all__ = ["AskedModel", "Ledger", "LedgerLike", "Row", "TextPolicy"]
