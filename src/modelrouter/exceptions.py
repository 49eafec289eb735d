"""Every error a user of modelrouter can meet, in one tree.

    ModelRouterError
    ├── ConfigurationError               a Router, Policy, card or setting cannot be as given
    │   ├── UnknownModelError            no card has that name; the nearest names are given
    │   ├── RetiredModelError            its provider has switched it off; names its successor
    │   ├── MissingDependencyError       an optional library is not installed
    │   ├── InvalidExamplesError         labelled rows that nothing can be learned or measured from
    │   ├── ScorerFileError              weights that are missing, damaged or of another version
    │   └── StorageError                 a ledger, cache or budget file that cannot be used
    ├── PullError                        a model could not be fetched from the hub
    │   ├── HubConnectionError           the hub cannot be reached, broke off, or may not be asked
    │   ├── NotOnHubError                no such repository, or no such file in it
    │   ├── GatedModelError              its makers want their terms accepted first
    │   ├── DiskSpaceError               the file is larger than what is free
    │   └── ChecksumError                what came is not what the hub promised
    ├── InvalidTaskError                 the task itself is malformed
    ├── NoEligibleModelError             no candidate may do the task; says why for each
    │   ├── ContextWindowExceededError   the prompt is longer than every window
    │   └── UnsupportedModalityError     an image, and no model here that sees (or makes) any
    ├── NotAdmittedError                 models may do the task, but none may be asked just now
    │   ├── BudgetExceededError          a budget is used up, or would be passed
    │   └── CoolingDownError             every model cools down after failures; says for how long
    ├── BackendError                     a model was asked and could not answer
    │   ├── AuthenticationError          the provider refused the key
    │   ├── BadRequestError              the provider refused the request; repeating does not help
    │   ├── RateLimitError               429; carries retry_after when the provider said
    │   ├── ServerError                  5xx
    │   ├── APIConnectionError           refused connection, unresolvable host, reset
    │   ├── BackendTimeoutError          no answer in time
    │   ├── MalformedResponseError       an answer that is not the protocol's
    │   ├── StreamInterruptedError       cut after the first text; carries the partial text
    │   └── LocalModelError              llama.cpp could not do it
    │       ├── ModelFileError           a GGUF that is missing, truncated or not a GGUF
    │       ├── QueueFullError           as many requests wait for the model as may
    │       └── LowConfidenceError       the answer's probability fell below the floor asked for
    ├── AnswerRejectedError              models answered, and the policy's accept took none of it
    └── AllCandidatesFailedError         several models were asked and none answered

No message, ``repr`` or log of these holds an API key: backends redact before raising.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from modelrouter.policies.decision import Decision, Reason
    from modelrouter.trace import Trace

__all__ = [
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
]


class ModelRouterError(Exception):
    """Base of every error this package raises on purpose.

    Attributes:
        hint: what to do about it, one sentence; part of the message already.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip() if hint else message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own calls __init__ with the finished message, which most kinds do not take:
        # a pool of processes would break when one of them is raised in a child.
        return _remade, (type(self), self.args, self.__dict__)


def _remade(
    kind: type[ModelRouterError], args: tuple[Any, ...], state: dict[str, Any]
) -> ModelRouterError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(ModelRouterError, ValueError):
    """A Router, Policy, card or setting cannot be as given."""


class UnknownModelError(ConfigurationError):
    """No card has that name.

    Attributes:
        name: the name asked for.
        nearest: known names that look like it, best first.
    """

    def __init__(self, name: str, nearest: Sequence[str] = ()) -> None:
        self.name = name
        self.nearest = tuple(nearest)
        hint = (
            f"Did you mean {' or '.join(repr(n) for n in self.nearest)}?"
            if self.nearest
            else "`modelrouter models` lists the known names."
        )
        super().__init__(f"Unknown model {name!r}.", hint=hint)


class RetiredModelError(ConfigurationError):
    """The model asked for by name was switched off by its provider.

    Attributes:
        name: of the model.
        retired: since when, as an ISO date.
        successor: the model to use in its place, if one is known.
    """

    def __init__(self, name: str, retired: str, successor: str | None) -> None:
        self.name, self.retired, self.successor = name, retired, successor
        hint = "Ask for another model."
        if successor is not None:
            hint = f"Use {successor!r}, or follow_successor=True."
        super().__init__(f"{name} was retired by its provider on {retired}.", hint=hint)


class MissingDependencyError(ConfigurationError):
    """An optional library is not installed; the message names the pip command."""


class InvalidExamplesError(ConfigurationError):
    """Labelled examples that nothing can be learned or measured from.

    Attributes:
        row: the row's number, from 1, as an editor counts lines; ``None`` where the rows as a
            whole are meant.
        field: the field that is wrong, ``""`` where the whole row is.
    """

    def __init__(
        self, problem: str, *, row: int | None = None, field: str = "", hint: str = ""
    ) -> None:
        self.row = row
        self.field = field
        place = ", ".join(part for part in (f"row {row}" if row is not None else "", field) if part)
        super().__init__(f"{place}: {problem}" if place else problem, hint=hint)


class ScorerFileError(ConfigurationError):
    """A file of scorer weights is missing, damaged, or of another version."""


class StorageError(ConfigurationError):
    """A file of ours (ledger, cache, budgets) is damaged, foreign, of a later version, or locked.

    Attributes:
        path: the file.
    """

    def __init__(self, message: str, *, path: Path, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class PullError(ModelRouterError):
    """A model could not be fetched from the hub; nothing unfinished is taken for a model."""


class HubConnectionError(PullError):
    """The hub cannot be reached, broke off, answered with an error, or may not be asked (offline).

    What was fetched so far is kept, and the next try goes on from there.
    """


class NotOnHubError(PullError):
    """The hub has no such repository, none that this token may see, or no such file in it.

    Attributes:
        choices: what there is instead.
    """

    def __init__(self, message: str, *, hint: str = "", choices: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.choices = tuple(choices)


class GatedModelError(PullError):
    """Its makers want their terms accepted on the hub first, and a token that shows it.

    Attributes:
        repository: as ``owner/name``.
    """

    def __init__(self, message: str, *, repository: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.repository = repository


class DiskSpaceError(PullError):
    """The file is larger than what is free where it is to go.

    Attributes:
        needed_bytes, free_bytes: what is still to come, and what there is room for.
    """

    def __init__(self, message: str, *, needed_bytes: int, free_bytes: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes


class ChecksumError(PullError):
    """What came is not what the hub promised; it was deleted.

    Attributes:
        expected, found: the checksums, in hexadecimal.
    """

    def __init__(self, message: str, *, expected: str, found: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.expected, self.found = expected, found


class InvalidTaskError(ModelRouterError, ValueError):
    """The task is malformed.

    Attributes:
        field: where in the task, for example ``messages[2].content``.
    """

    def __init__(self, field: str, problem: str, *, hint: str = "") -> None:
        self.field = field
        super().__init__(f"{field}: {problem}", hint=hint)


class NoEligibleModelError(ModelRouterError):
    """No candidate may do the task under the policy.

    Attributes:
        decision: the whole decision; ``decision.candidates`` has each model's reasons.
        trace: of the call, with no attempt in it; ``None`` where no call was made.
    """

    def __init__(self, message: str, *, decision: Decision, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.decision = decision
        self.trace: Trace | None = None


class ContextWindowExceededError(NoEligibleModelError):
    """The prompt and its expected answer are longer than every window."""


class UnsupportedModalityError(NoEligibleModelError):
    """The task holds an image, and no model that may be used sees; or wants one, and none draws."""


class NotAdmittedError(ModelRouterError):
    """Models may do the task, but budgets, cooldowns or rate limits let none be asked now.

    Attributes:
        refusals: the models in the order tried, each with why it was not asked.
        retry_in_s: seconds after which the same call may go through; ``None`` if waiting is of no
            use.
        trace: every attempt of the call, set when the error leaves the Router.
    """

    def __init__(
        self,
        message: str,
        *,
        refusals: Sequence[tuple[str, Reason]] = (),
        retry_in_s: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.refusals = tuple(refusals)
        self.retry_in_s = retry_in_s
        self.trace: Trace | None = None


class BudgetExceededError(NotAdmittedError):
    """A budget is used up, or the call at its worst would pass it; nothing was asked."""


class CoolingDownError(NotAdmittedError):
    """Every model that may do the task cools down after failures."""


class BackendError(ModelRouterError):
    """A model was asked and could not answer.

    Attributes:
        model: the card's name.
        status: the HTTP status, where there was one.
        retryable: whether the same call may succeed when repeated.
        sent: whether the request may have reached the provider, who may then charge for it.
        retry_after: seconds the provider asked to wait, where it did.
        trace: every attempt of the call, set when the error leaves the Router.
    """

    retryable = False
    sent = True

    def __init__(
        self,
        message: str,
        *,
        model: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.model = model
        self.status = status
        self.retry_after = retry_after
        self.trace: Trace | None = None


class AuthenticationError(BackendError):
    """The provider refused the key (401, 403)."""


class BadRequestError(BackendError):
    """The provider refused the request (400, 404, 422); repeating it does not help."""


class RateLimitError(BackendError):
    """The provider asks to slow down (429)."""

    retryable = True


class ServerError(BackendError):
    """The provider failed (5xx)."""

    retryable = True


class APIConnectionError(BackendError):
    """No connection: refused, reset, or a host that does not resolve."""

    retryable = True


class BackendTimeoutError(BackendError):
    """No answer within the time allowed."""

    retryable = True


class MalformedResponseError(BackendError):
    """The answer does not follow the protocol: not JSON, no choices, wrong types."""

    retryable = True


class StreamInterruptedError(BackendError):
    """The stream was cut after text had been shown; what was shown is not repeated.

    Attributes:
        partial_text: the text received before the cut.
    """

    def __init__(self, message: str, *, partial_text: str, model: str = "", hint: str = "") -> None:
        super().__init__(message, model=model, hint=hint)
        self.partial_text = partial_text


class LocalModelError(BackendError):
    """llama.cpp could not load or run the model."""


class ModelFileError(LocalModelError):
    """A GGUF file is missing, truncated, or no GGUF at all."""


class QueueFullError(LocalModelError):
    """As many requests wait for the local model as its settings allow.

    Not retried on the same model: whoever sends too much is not helped by sending it again.

    Attributes:
        waiting: how many wait.
    """

    def __init__(self, message: str, *, waiting: int, model: str = "", hint: str = "") -> None:
        super().__init__(message, model=model, hint=hint)
        self.waiting = waiting


class LowConfidenceError(LocalModelError):
    """A local model's answer was given up because the model was not sure enough of it.

    Attributes:
        partial_text: the answer so far.
        confidence: the geometric mean of its tokens' probabilities.
    """

    def __init__(
        self, message: str, *, partial_text: str, confidence: float, model: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, model=model, hint=hint)
        self.partial_text = partial_text
        self.confidence = confidence


class AnswerRejectedError(ModelRouterError):
    """Models answered, and the policy's ``accept`` took no answer.

    Attributes:
        reply: the last answer.
        trace: every attempt, with why its answer was not taken and what it cost.
    """

    def __init__(self, message: str, *, reply: Any, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reply = reply
        self.trace: Trace | None = None


class AllCandidatesFailedError(ModelRouterError):
    """Several models were asked and none answered; chained from the last failure.

    Attributes:
        errors: the last error of each model asked, in the order asked.
        trace: every attempt.
    """

    def __init__(self, message: str, *, errors: Sequence[BackendError], trace: Trace) -> None:
        super().__init__(message)
        self.errors = tuple(errors)
        self.trace = trace
