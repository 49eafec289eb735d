"""Messages to prompt tokens, through the chat template that the model was trained with."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from modelrouter.backends.llamacpp.engine.native import Model, NativeError
from modelrouter.backends.llamacpp.rendering import (
    Renderer,
    RenderingStopped,
    TemplateLimitError,
)
from modelrouter.backends.llamacpp.templates import NAMED, TEMPLATE_KEY, ChatTemplate, resolve
from modelrouter.backends.llamacpp.tools import Form, form_of, handles_tools, prepared
from modelrouter.exceptions import BadRequestError, ConfigurationError, LocalModelError
from modelrouter.turns import alternating

__all__ = ["PromptWriter", "plain_messages"]

_logger: Final = logging.getLogger(__name__)


class PromptWriter:
    """Writes prompts for one model.

    The texts of control tokens in a message stay text: nobody can end a turn or begin another
    speaker's by typing ``<|assistant|>``.

    Args:
        model: whose vocabulary and template.
        path: the file, for messages.
        fallback: a template's name or its Jinja, for a file that has none.
    """

    def __init__(self, model: Model, path: Path, fallback: str | None) -> None:
        self._model, self._path, self._fallback = model, path, fallback
        self._known: dict[str | None, tuple[ChatTemplate, Renderer]] = {}
        control = model.control_texts()
        self._control = re.compile("|".join(map(re.escape, control))) if control else None

    def template(self, override: str | None = None) -> ChatTemplate:
        """The template that prompts are written with.

        Args:
            override: a template's name or its Jinja, to be used in place of the file's own.

        Raises:
            LocalModelError: there is none, no such name, or one that is not Jinja.
        """
        return self._ready(override)[0]

    def markers(self, override: str | None = None) -> dict[int, bytes]:
        """The control tokens around tool calls, with the texts by which calls are found.

        :meth:`Model.piece` says that they stand for nothing; where tools are offered, these bytes
        take their place.
        """
        found = {}
        for mark in form_of(self.template(override).source).markers:
            tokens = self._model.tokenize(mark, special=True)
            if len(tokens) == 1 and not self._model.piece(tokens[0]):
                found[tokens[0]] = mark.encode()
        return found

    def write(
        self,
        messages: Sequence[Mapping[str, Any]],
        name: str,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        override: str | None = None,
        go_on: Callable[[], bool] | None = None,
    ) -> list[int]:
        """The prompt's tokens.

        Args:
            messages: from :func:`plain_messages`.
            name: the model's, for error messages.
            tools: as OpenAI writes them, for a template that has a place for them.
            override: as for :meth:`template`.
            go_on: asked now and then; ``False`` gives up.

        Raises:
            BadRequestError: the template refuses the messages or has no place for tools, or they
                are not valid Unicode.
            LocalModelError: as for :meth:`template`; also a template that does not come to an end.
            RenderingStopped: ``go_on`` said so.
        """
        template, _ = self._ready(override)
        if tools and not handles_tools(template.source):
            raise BadRequestError(
                f"The chat template of {name} has no place for tools.",
                model=name,
                hint="Leave tools out, or use a model that was trained with them.",
            )
        hidden = _Hidden(self._control)
        text = self._rendered(messages, tools, hidden, name, override, go_on)
        tokens: list[int] = []
        try:
            for part, typed in hidden.parts(text):
                tokens += self._model.tokenize(part, special=not typed, whole=self._control)
        except UnicodeEncodeError as exc:
            raise BadRequestError(
                "A message holds half a surrogate pair, which is not a character.",
                model=name,
                hint="Decode it with errors='replace'.",
            ) from exc
        except NativeError as exc:
            raise LocalModelError(f"{name} could not read the prompt: {exc}", model=name) from exc
        first = self._model.first_token
        if first is not None and tokens[:1] != [first]:
            tokens.insert(0, first)
        return tokens

    def _rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        hidden: _Hidden,
        name: str,
        override: str | None,
        go_on: Callable[[], bool] | None,
    ) -> str:
        template, render = self._ready(override)
        error: Exception | None = None
        for ways in self._ways(messages, form_of(template.source)):
            try:
                return render(hidden.within(ways), hidden.within(list(tools)) or None, go_on)
            except RenderingStopped:
                raise
            except TemplateLimitError as exc:
                raise LocalModelError(
                    f"The chat template of {name} was given up: {exc}.",
                    model=name,
                    hint="Give another with chat_template, or send less at once.",
                ) from exc
            except Exception as exc:  # the template is a program of someone else's
                error = error or exc
        raise BadRequestError(
            f"The chat template of {name} refuses these messages: {error}", model=name
        ) from error

    def _ways(
        self, messages: Sequence[Mapping[str, Any]], form: Form
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The messages in the ways that templates want them, the usual one first."""
        # Most templates want a past call's arguments as an object, some as the text they came as.
        yield prepared(messages, form)
        if any(message.get("tool_calls") for message in messages):
            yield messages
        # Some want user and assistant in turn, and some of these no system turn.
        for system in (True, False):
            yield prepared(alternating(messages, system=system), form)

    def _ready(self, override: str | None) -> tuple[ChatTemplate, Renderer]:
        known = self._known.get(override)
        if known is None:
            template = self._chosen(override)
            known = self._known[override] = template, self._compiled(template)
        return known

    def _chosen(self, override: str | None) -> ChatTemplate:
        try:
            template = resolve(self._model.metadata, self._fallback, override)
        except ConfigurationError as exc:
            raise LocalModelError(str(exc)) from exc  # its hint is part of its text
        if template is None:
            raise LocalModelError(
                f"{self._path} has no chat template ({TEMPLATE_KEY}).",
                hint="Use an instruction-tuned model, or give its template with "
                "LlamaCppSettings(chat_template=...) or ModelCard(chat_template=...): "
                f"Jinja, or one of {', '.join(NAMED)}.",
            )
        if template.guessed_from is not None:
            _logger.warning(
                "%s has no chat template; %r is used because of its %s. "
                "Set chat_template to choose another, or to be sure.",
                self._path,
                template.name,
                template.guessed_from,
            )
        return template

    def _compiled(self, template: ChatTemplate) -> Renderer:
        bos, eos = self._model.special_text("bos"), self._model.special_text("eos")
        try:
            return Renderer(template.source, bos, eos)
        except Exception as exc:  # Jinja's compiler lets many kinds of error out
            raise LocalModelError(
                f"{self._path} has a chat template that cannot be read: {exc}",
                hint="Convert it again, or give another with chat_template.",
            ) from exc


_MARK: Final = uuid.uuid4().hex
"""What nobody can guess and so nobody can write."""
_MARKED: Final = re.compile(f"{_MARK}([0-9]{{8}})")


class _Hidden:
    """Control tokens' texts in what a user wrote, out of the template's sight."""

    def __init__(self, control: re.Pattern[str] | None) -> None:
        self._control = control
        self._texts: list[str] = []

    def within(self, value: Any) -> Any:
        """The value with a mark in place of each such text, at any depth."""
        if isinstance(value, str):
            return value if self._control is None else self._control.sub(self._hide, value)
        if isinstance(value, Mapping):
            return {self.within(k): self.within(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.within(item) for item in value]
        return value

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """The rendered text in pieces, and of each whether it is one of the hidden texts."""
        for i, part in enumerate(_MARKED.split(text) if self._texts else (text,)):
            typed = i % 2 == 1
            yield self._texts[int(part)] if typed else part, typed

    def _hide(self, found: re.Match[str]) -> str:
        self._texts.append(found.group())
        return f"{_MARK}{len(self._texts) - 1:08d}"


def plain_messages(messages: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Messages as chat templates know them: text contents, and "system" for "developer".

    Raises:
        BadRequestError: a part that is not a text.
    """
    plain = []
    for message in messages:
        content = message.get("content")
        if not isinstance(content, str):
            content = "".join(_text(part, name) for part in content or ())
        role = "system" if message.get("role") == "developer" else message.get("role")
        plain.append({**message, "role": role, "content": content})
    return plain


def _text(part: object, name: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise BadRequestError(
        f"{name} reads text only, and a message holds a part of type {kind!r}.", model=name
    )
