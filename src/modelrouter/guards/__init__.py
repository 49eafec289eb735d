"""Guards: what must agree before a model is asked, and hears afterwards what came of it."""

from modelrouter.guards.base import Admission, Admitted, Guard, Intent, Refusal, Settlement

__all__ = ["Admission", "Admitted", "Guard", "Intent", "Refusal", "Settlement"]
