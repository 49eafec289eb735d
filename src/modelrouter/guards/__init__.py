"""Guards: what must agree before a model is asked, and hears afterwards what came of it."""

from modelrouter.guards.base import (
    Admission,
    Admitted,
    Guard,
    Intent,
    OneCall,
    Refusal,
    Settlement,
)
from modelrouter.guards.breaker import BreakerPolicy
from modelrouter.guards.breakers import Breakers, Health
from modelrouter.guards.budgets import Budget, Budgets, Standing
from modelrouter.guards.chain import Guards, Passed, refused
from modelrouter.guards.rates import Rates
from modelrouter.guards.sqlite_store import SqliteStore
from modelrouter.guards.store import Account, Claim, Hold, MemoryStore, Short, Store

__all__ = [
    "Account",
    "Admission",
    "Admitted",
    "BreakerPolicy",
    "Breakers",
    "Budget",
    "Budgets",
    "Claim",
    "Guard",
    "Guards",
    "Health",
    "Hold",
    "Intent",
    "MemoryStore",
    "OneCall",
    "Passed",
    "Rates",
    "Refusal",
    "Settlement",
    "Short",
    "SqliteStore",
    "Standing",
    "Store",
    "refused",
]
