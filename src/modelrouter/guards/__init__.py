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
from modelrouter.guards.budgets import Budget, Budgets, BudgetStatus
from modelrouter.guards.chain import Guards, Permit, refused
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
    "BudgetStatus",
    "Budgets",
    "Claim",
    "Guard",
    "Guards",
    "Health",
    "Hold",
    "Intent",
    "MemoryStore",
    "OneCall",
    "Permit",
    "Rates",
    "Refusal",
    "Settlement",
    "Short",
    "SqliteStore",
    "Store",
    "refused",
]
