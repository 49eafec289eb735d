"""Where the client meets dispatch and the backends: an answer keeps its type all the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from typing_extensions import assert_type

from modelrouter.backends.base import EmbeddingBackend, ImageBackend, Request
from modelrouter.catalog.card import ModelCard
from modelrouter.client.core import Core
from modelrouter.client.options import EmbeddingOptions
from modelrouter.dispatch.drivers import adrive, drive
from modelrouter.dispatch.steps import Call, Result
from modelrouter.policies import Policy
from modelrouter.policies.decision import Decision
from modelrouter.response import Completion, EmbeddingResponse, ImagesResponse, Usage
from modelrouter.task import Task


def blocking(
    call: Call[Completion],
    answers: Callable[[Request], Completion],
    draws: Callable[[Request], ImagesResponse],
) -> None:
    assert_type(drive(call, answers), Result[Completion])
    drive(call, draws)  # type: ignore[arg-type]  # the call's judge reads completions


async def awaited(
    call: Call[Completion], answers: Callable[[Request], Awaitable[Completion]]
) -> None:
    assert_type(await adrive(call, answers), Result[Completion])


def backends(core: Core, card: ModelCard) -> None:
    assert_type(core.pool.embedder(card), EmbeddingBackend)
    assert_type(core.pool.image_maker(card), ImageBackend)


def calls(core: Core, task: Task, decision: Decision, policy: Policy) -> None:
    options: EmbeddingOptions = {"truncate": True}

    def spent(card: ModelCard, reply: EmbeddingResponse) -> tuple[Usage, float | None]:
        return reply.usage, None

    made = core.simple_call(task, decision, policy, options, spent=spent)
    assert_type(made, Call[EmbeddingResponse])
    core.simple_call(task, decision, policy, options, spent=spent, flavour=1)  # type: ignore[call-arg]  # no field by any name
