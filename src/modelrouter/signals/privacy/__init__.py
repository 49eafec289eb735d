"""Privacy: which kinds of personal data a text holds."""

from modelrouter.signals.privacy.find import LONG, PII_KINDS, UNREAD, find_pii

__all__ = ["LONG", "PII_KINDS", "UNREAD", "find_pii"]
