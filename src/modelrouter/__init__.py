"""modelrouter: which model should do this task?

Everything public is imported from here; each name is loaded when it is first used, so that
``import modelrouter`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from modelrouter.catalog import Catalog as Catalog
    from modelrouter.catalog import ModelCard as ModelCard
    from modelrouter.client.image_calls import Classification as Classification
    from modelrouter.client.image_index import ImageIndex as ImageIndex
    from modelrouter.config import UNSET as UNSET
    from modelrouter.config import GenerationSettings as GenerationSettings
    from modelrouter.config import RateLimit as RateLimit
    from modelrouter.config import RetryPolicy as RetryPolicy
    from modelrouter.config import Timeout as Timeout
    from modelrouter.dispatch.cache import Cache as Cache
    from modelrouter.dispatch.streaming import AsyncCompletionStream as AsyncCompletionStream
    from modelrouter.dispatch.streaming import CompletionStream as CompletionStream
    from modelrouter.exceptions import AllCandidatesFailedError as AllCandidatesFailedError
    from modelrouter.exceptions import AnswerRejectedError as AnswerRejectedError
    from modelrouter.exceptions import APIConnectionError as APIConnectionError
    from modelrouter.exceptions import AuthenticationError as AuthenticationError
    from modelrouter.exceptions import BackendError as BackendError
    from modelrouter.exceptions import BackendTimeoutError as BackendTimeoutError
    from modelrouter.exceptions import BadRequestError as BadRequestError
    from modelrouter.exceptions import BudgetExceededError as BudgetExceededError
    from modelrouter.exceptions import ChecksumError as ChecksumError
    from modelrouter.exceptions import ConfigurationError as ConfigurationError
    from modelrouter.exceptions import ContextWindowExceededError as ContextWindowExceededError
    from modelrouter.exceptions import CoolingDownError as CoolingDownError
    from modelrouter.exceptions import DiskSpaceError as DiskSpaceError
    from modelrouter.exceptions import GatedModelError as GatedModelError
    from modelrouter.exceptions import HubConnectionError as HubConnectionError
    from modelrouter.exceptions import InvalidExamplesError as InvalidExamplesError
    from modelrouter.exceptions import InvalidTaskError as InvalidTaskError
    from modelrouter.exceptions import LocalModelError as LocalModelError
    from modelrouter.exceptions import LowConfidenceError as LowConfidenceError
    from modelrouter.exceptions import MalformedResponseError as MalformedResponseError
    from modelrouter.exceptions import MissingDependencyError as MissingDependencyError
    from modelrouter.exceptions import ModelFileError as ModelFileError
    from modelrouter.exceptions import ModelRouterError as ModelRouterError
    from modelrouter.exceptions import NoEligibleModelError as NoEligibleModelError
    from modelrouter.exceptions import NotAdmittedError as NotAdmittedError
    from modelrouter.exceptions import NotOnHubError as NotOnHubError
    from modelrouter.exceptions import PullError as PullError
    from modelrouter.exceptions import QueueFullError as QueueFullError
    from modelrouter.exceptions import RateLimitError as RateLimitError
    from modelrouter.exceptions import RetiredModelError as RetiredModelError
    from modelrouter.exceptions import ScorerFileError as ScorerFileError
    from modelrouter.exceptions import ServerError as ServerError
    from modelrouter.exceptions import StorageError as StorageError
    from modelrouter.exceptions import StreamInterruptedError as StreamInterruptedError
    from modelrouter.exceptions import UnknownModelError as UnknownModelError
    from modelrouter.exceptions import UnsupportedModalityError as UnsupportedModalityError
    from modelrouter.guards import BreakerPolicy as BreakerPolicy
    from modelrouter.guards import Budget as Budget
    from modelrouter.hub import pull as pull
    from modelrouter.ledger import Ledger as Ledger
    from modelrouter.policies import Objective as Objective
    from modelrouter.policies import Policy as Policy
    from modelrouter.policies import Rule as Rule
    from modelrouter.policies.decision import Candidate as Candidate
    from modelrouter.policies.decision import Decision as Decision
    from modelrouter.policies.decision import Reason as Reason
    from modelrouter.response import Chunk as Chunk
    from modelrouter.response import Completion as Completion
    from modelrouter.response import Confidence as Confidence
    from modelrouter.response import EmbeddingResponse as EmbeddingResponse
    from modelrouter.response import ImagesResponse as ImagesResponse
    from modelrouter.response import Usage as Usage
    from modelrouter.router import AsyncRouter as AsyncRouter
    from modelrouter.router import Router as Router
    from modelrouter.scoring import Difficulty as Difficulty
    from modelrouter.scoring import Scorer as Scorer
    from modelrouter.signals import Signals as Signals
    from modelrouter.task import Task as Task
    from modelrouter.trace import Attempt as Attempt
    from modelrouter.trace import Trace as Trace

_HOMES: Final[dict[str, tuple[str, ...]]] = {
    "dispatch.cache": ("Cache",),
    "catalog": ("Catalog", "ModelCard"),
    "config": ("UNSET", "GenerationSettings", "RateLimit", "RetryPolicy", "Timeout"),
    "policies.decision": ("Candidate", "Decision", "Reason"),
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
    "guards": ("BreakerPolicy", "Budget"),
    "hub": ("pull",),
    "client.image_calls": ("Classification",),
    "client.image_index": ("ImageIndex",),
    "ledger": ("Ledger",),
    "policies": ("Objective", "Policy", "Rule"),
    "response": (
        "Chunk",
        "Completion",
        "Confidence",
        "EmbeddingResponse",
        "ImagesResponse",
        "Usage",
    ),
    "router": ("AsyncRouter", "Router"),
    "scoring": ("Difficulty", "Scorer"),
    "signals": ("Signals",),
    "dispatch.streaming": ("AsyncCompletionStream", "CompletionStream"),
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
