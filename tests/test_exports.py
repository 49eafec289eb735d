"""The public names, pinned: adding or removing one is a decision, written down here."""

from __future__ import annotations

import importlib.metadata
import runpy
from pathlib import Path

import pytest

import modelrouter
from modelrouter import exceptions

EXPORTS = {
    "__version__",
    # faces
    "AsyncRouter",
    "Router",
    # tasks and what is read from them
    "Signals",
    "Task",
    # models
    "Catalog",
    "ModelCard",
    "Curves",
    "Example",
    "LearnedScorer",
    "Scorer",
    "pull",
    # policies
    "Objective",
    "Policy",
    "Rule",
    # limits
    "BreakerPolicy",
    "Budget",
    "Guard",
    "Health",
    "RateLimit",
    "Store",
    # decisions
    "Candidate",
    "Decision",
    "Difficulty",
    "Reason",
    # replies
    "AsyncCompletionStream",
    "Attempt",
    "Chunk",
    "Completion",
    "Confidence",
    "CompletionStream",
    "EmbeddingResponse",
    "ImagesResponse",
    "Classification",
    "ImageIndex",
    "Trace",
    "Usage",
    # what was done
    "Cache",
    "Ledger",
    # settings
    "UNSET",
    "GenerationSettings",
    "RetryPolicy",
    "Timeout",
    "Backend",
    "LlamaCppSettings",
    # errors
    "ChecksumError",
    "DiskSpaceError",
    "GatedModelError",
    "HubConnectionError",
    "NotOnHubError",
    "PullError",
    "APIConnectionError",
    "AllCandidatesFailedError",
    "AnswerRejectedError",
    "AuthenticationError",
    "BackendError",
    "BackendTimeoutError",
    "BadRequestError",
    "BudgetExceededError",
    "ConfigurationError",
    "ContextWindowExceededError",
    "CoolingDownError",
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
    "QueueFullError",
    "RateLimitError",
    "RetiredModelError",
    "ScorerFileError",
    "ServerError",
    "StorageError",
    "StreamInterruptedError",
    "UnknownModelError",
    "UnsupportedModalityError",
}


def test_the_public_names_are_these() -> None:
    assert set(modelrouter.__all__) == EXPORTS
    assert len(modelrouter.__all__) == len(EXPORTS)


@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(modelrouter, name) is not None
    assert name in dir(modelrouter)


def test_every_error_is_public() -> None:
    assert set(exceptions.__all__) <= EXPORTS
    assert all(
        issubclass(getattr(modelrouter, name), modelrouter.ModelRouterError)
        for name in exceptions.__all__
    )


def test_type_checkers_see_the_same_names() -> None:
    """``scripts/stub.py`` writes what they read; run it after a change of the list."""
    path = Path(__file__).parents[1] / "scripts" / "stub.py"
    writer = runpy.run_path(str(path))
    face = Path(modelrouter.__file__)
    assert face.with_suffix(".pyi").read_text("utf-8") == writer["stub"](face.read_text("utf-8"))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Ruoter"):
        modelrouter.Ruoter  # noqa: B018 (the access is what is tested)


def test_the_version_is_the_installed_one() -> None:
    assert modelrouter.__version__ == importlib.metadata.version("modelrouter")
