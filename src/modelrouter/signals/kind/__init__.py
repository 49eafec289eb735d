"""Kind: what sort of task the last user turn is."""

from modelrouter.signals.kind.detect import detect_kind

__all__ = ["detect_kind"]
