"""Messages to prompt tokens, through the chat template that the model was trained with."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from modelrouter.backends.llamacpp.native import Model, NativeError
from modelrouter.exceptions import BadRequestError, LocalModelError

__all__ = ["PromptWriter", "plain_messages"]

_TEMPLATE_KEY: Final = "tokenizer.chat_template"


class PromptWriter:
    """Writes prompts for one model.

    The texts of control tokens in a message stay text: nobody can end a turn or begin another
    speaker's by typing ``<|assistant|>``.

    Args:
        model: whose vocabulary and template.
        path: the file, for messages.
        fallback: a template for a file that has none; ``None`` refuses it.

    Raises:
        LocalModelError: no template, or one that is no Jinja.
    """

    def __init__(self, model: Model, path: Path, fallback: str | None) -> None:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        source = model.metadata(_TEMPLATE_KEY) or fallback
        if source is None:
            raise LocalModelError(
                f"{path} has no chat template ({_TEMPLATE_KEY}).",
                hint="Use an instruction-tuned model, or give its template with "
                "LlamaCppSettings(chat_template=...).",
            )
        try:
            self._format = Jinja2ChatFormatter(
                template=source,
                eos_token=model.special_text("eos"),
                bos_token=model.special_text("bos"),
            )
        except Exception as exc:  # Jinja's compiler lets many kinds of error out
            raise LocalModelError(
                f"{path} has a chat template that cannot be read: {exc}", hint="Convert it again."
            ) from exc
        self._model = model
        control = model.control_texts()
        self._control = re.compile("|".join(map(re.escape, control))) if control else None

    def write(self, messages: Sequence[Mapping[str, Any]], name: str) -> list[int]:
        """The prompt's tokens.

        Args:
            messages: from :func:`plain_messages`.
            name: the model's, for error messages.

        Raises:
            BadRequestError: the template refuses the messages, or they are no valid Unicode.
        """
        mark = uuid.uuid4().hex
        hidden: list[str] = []

        def hide(found: re.Match[str]) -> str:
            hidden.append(found.group())
            return f"{mark}{len(hidden) - 1:08d}"

        if self._control is not None:
            control = self._control
            messages = [{**m, "content": control.sub(hide, m["content"])} for m in messages]
        try:
            text = self._format(messages=list(messages)).prompt  # type: ignore[arg-type] # any roles
        except Exception as exc:  # the template is a program of someone else's
            raise BadRequestError(
                f"The chat template of {name} refuses these messages: {exc}", model=name
            ) from exc
        tokens: list[int] = []
        try:
            for i, part in enumerate(re.split(f"{mark}([0-9]{{8}})", text)):
                typed = i % 2 == 1
                part = hidden[int(part)] if typed else part
                tokens += self._model.tokenize(part, special=not typed, whole=self._control)
        except UnicodeEncodeError as exc:
            raise BadRequestError(
                "A message holds half a surrogate pair, which is no character.",
                model=name,
                hint="Decode it with errors='replace'.",
            ) from exc
        except NativeError as exc:
            raise LocalModelError(f"{name} could not read the prompt: {exc}", model=name) from exc
        first = self._model.first_token
        if first is not None and tokens[:1] != [first]:
            tokens.insert(0, first)
        return tokens


def plain_messages(messages: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Messages as chat templates know them: text contents, and "system" for "developer".

    Raises:
        BadRequestError: a part that is no text.
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
