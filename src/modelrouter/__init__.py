"""modelrouter: which model should do this task?

Everything public is imported from here; each name is loaded when it is first used, so that
``import modelrouter`` costs next to nothing. ``_HOMES`` is the list of public names;
``scripts/stub.py`` writes ``__init__.pyi``, which type checkers read, from it.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

__version__ = "0.1.0"

_HOMES: Final[dict[str, tuple[str, ...]]] = {
    "backends.base": ("Backend",),
    "backends.llamacpp.settings": ("LlamaCppSettings",),
    "catalog": ("Catalog", "ModelCard"),
    "client.image_calls": ("Classification",),
    "client.image_index": ("ImageIndex",),
    "config": ("UNSET", "GenerationSettings", "RateLimit", "RetryPolicy", "Timeout"),
    "dispatch.cache": ("Cache",),
    "dispatch.streaming": ("AsyncCompletionStream", "CompletionStream"),
    "exceptions": (
        "APIConnectionError",
        "AllCandidatesFailedError",
        "AnswerRejectedError",
        "AuthenticationError",
        "BackendError",
        "BackendTimeoutError",
        "BadRequestError",
        "BudgetExceededError",
        "ChecksumError",
        "ConfigurationError",
        "ContextWindowExceededError",
        "CoolingDownError",
        "DiskSpaceError",
        "GatedModelError",
        "HubConnectionError",
        "InvalidExamplesError",
        "InvalidTaskError",
        "LocalModelError",
        "LowConfidenceError",
        "MalformedResponseError",
        "MissingDependencyError",
        "ModelFileError",
        "ModelRouterError",
        "NoEligibleModelError",
        "NotAdmittedError",
        "NotOnHubError",
        "PullError",
        "QueueFullError",
        "RateLimitError",
        "RetiredModelError",
        "ScorerFileError",
        "ServerError",
        "StorageError",
        "StreamInterruptedError",
        "UnknownModelError",
        "UnsupportedModalityError",
    ),
    "fitting": ("Example",),
    "guards": ("BreakerPolicy", "Budget", "Guard", "Health", "Store"),
    "hub": ("pull",),
    "ledger": ("Ledger",),
    "policies": ("Objective", "Policy", "Rule"),
    "policies.decision": ("Candidate", "Decision", "Reason"),
    "response": (
        "Chunk",
        "Completion",
        "Confidence",
        "EmbeddingResponse",
        "ImagesResponse",
        "Usage",
    ),
    "router": ("AsyncRouter", "Router"),
    "scoring": ("Curves", "Difficulty", "LearnedScorer", "Scorer"),
    "signals": ("Signals",),
    "task": ("Task",),
    "trace": ("Attempt", "Trace"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
