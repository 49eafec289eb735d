"""Job: one request on its way through a worker."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelrouter.backends.llamacpp.engine.channel import Channel, Failed
from modelrouter.backends.llamacpp.engine.sampling import SamplingOptions
from modelrouter.exceptions import BackendError, BackendTimeoutError, LocalModelError

__all__ = ["Job", "unexpected", "untraced"]


def unexpected(model: str, cause: Exception) -> LocalModelError:
    """The error for what nobody foresaw; its caller hears of it, the others go on."""
    error = LocalModelError(f"{model} failed: {cause!r}.", model=model)
    error.__cause__ = cause
    return error


def untraced(error: BackendError, model: str) -> BackendError:
    """The error and its causes without the worker's frames, and with the model's name.

    With them the model would stay in memory for as long as somebody keeps the error.
    """
    error.model = error.model or model
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


@dataclass(slots=True, eq=False)
class Job:
    """One request.

    Attributes:
        name: the model's name, for messages.
        window: tokens of prompt and answer together that the card allows.
        most_output: tokens of answer that the card allows, if bounded.
        messages: from :func:`~modelrouter.backends.llamacpp.prompt.plain_messages`.
        options: how to sample.
        channel: where the events go.
        response_format, tools, tool_choice: as OpenAI writes them.
        chat_template: of the card, to be used in place of the file's own.
        deadline: by :func:`time.monotonic`; ``None`` for no limit.
        in_pieces: whether text is sent as it comes, or all at the end.
        process: the process that it was made in.
        submitted: when, by :func:`time.monotonic`.
        stage: what is being done, in words.
        cancelled: nobody waits for it any more.
    """

    name: str
    window: int
    most_output: int | None
    messages: Sequence[Mapping[str, Any]]
    options: SamplingOptions
    channel: Channel
    response_format: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: Any = None
    chat_template: str | None = None
    deadline: float | None = None
    in_pieces: bool = True
    process: int = field(default_factory=os.getpid)
    submitted: float = field(default_factory=time.monotonic)
    stage: str = "waiting for its turn"
    cancelled: bool = False

    def cancel(self) -> None:
        """It is not begun, or ends before the next step. Safe from any thread."""
        self.cancelled = True

    def fail(self, error: BackendError) -> None:
        """Tell the caller that there is no answer, once; nothing is told after it."""
        if self.cancelled:
            return
        self.channel.send(Failed(untraced(error, self.name)))
        self.cancel()

    @property
    def unwanted(self) -> bool:
        """Whether nobody waits for it, or its deadline has passed."""
        return self.cancelled or (self.deadline is not None and time.monotonic() > self.deadline)

    def late(self) -> BackendTimeoutError:
        """The error for a deadline that has passed."""
        return BackendTimeoutError(
            f"{self.name} gave no whole answer in time; it was {self.stage}.",
            model=self.name,
            hint="Allow more time, or ask for less with max_tokens.",
        )
