"""Which chat template a model's prompts are written with: its own, a named one, or a given one.

The named ones are for files that hold none, most of them older than the metadata key for it. Each
follows what the model's makers document, to the character, and knows the texts at which an
answer ends, because such a file may not mark them as end tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from modelrouter.exceptions import ConfigurationError

__all__ = ["NAMED", "TEMPLATE_KEY", "ChatTemplate", "guess", "named", "resolve"]

TEMPLATE_KEY: Final = "tokenizer.chat_template"
"""The metadata entry of a model's own template."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template and how it was come by.

    Attributes:
        source: Jinja.
        stops: texts at which an answer ends, besides the model's end tokens.
        name: of a named template, else ``None``.
        guessed_from: the metadata by which it was chosen unasked, else ``None``.
    """

    source: str
    stops: tuple[str, ...] = ()
    name: str | None = None
    guessed_from: str | None = None


_REFUSE: Final = (
    """{%- else -%}{{- raise_exception('there is no place for the role ' ~ m['role']) -}}"""
    + "{%- endif -%}"
)

# What a model without a system role is to follow stands before the user's next words.
_FOLD: Final = "{%- set ns = namespace(system='') -%}{%- for m in messages -%}"
_FOLDED: Final = (
    "{%- if m['role'] == 'system' -%}{%- set ns.system = ns.system ~ m['content'] ~ '\\n\\n' -%}"
    "{%- elif m['role'] == 'user' -%}"
)

# microsoft/phi-2's model card, "QA format". It names no place for a system prompt.
_PHI_2: Final = ChatTemplate(
    _FOLD
    + _FOLDED
    + "{{- 'Instruct: ' ~ ns.system ~ m['content'] ~ '\\n' -}}{%- set ns.system = '' -%}"
    "{%- elif m['role'] == 'assistant' -%}{{- 'Output: ' ~ m['content'] ~ '\\n' -}}"
    + _REFUSE
    + "{%- endfor -%}"
    "{%- if ns.system -%}{{- 'Instruct: ' ~ ns.system | trim ~ '\\n' -}}{%- endif -%}"
    "{%- if add_generation_prompt -%}{{- 'Output:' -}}{%- endif -%}",
    ("\nInstruct:", "\nOutput:", "<|endoftext|>"),
    "phi-2",
)

# tatsu-lab/stanford_alpaca, train.py and README: the preamble is where a system prompt belongs,
# and the answer follows the colon at once. It knows one turn; further ones are put on.
_ALPACA: Final = ChatTemplate(
    "{%- set ns = namespace(system='', begun=false) -%}{%- for m in messages -%}"
    "{%- if m['role'] == 'system' -%}"
    "{%- if ns.system -%}{%- set ns.system = ns.system ~ '\\n\\n' -%}{%- endif -%}"
    "{%- set ns.system = ns.system ~ m['content'] -%}"
    "{%- elif m['role'] == 'user' -%}"
    "{%- if ns.begun -%}{{- '\\n\\n' -}}{%- endif -%}"
    "{%- if ns.system -%}{{- ns.system ~ '\\n\\n' -}}{%- set ns.system = '' -%}"
    "{%- elif not ns.begun -%}"
    "{{- 'Below is an instruction that describes a task. Write a response that appropriately '"
    " ~ 'completes the request.\\n\\n' -}}"
    "{%- endif -%}"
    "{{- '### Instruction:\\n' ~ m['content'] -}}{%- set ns.begun = true -%}"
    "{%- elif m['role'] == 'assistant' -%}{{- '\\n\\n### Response:' ~ m['content'] -}}"
    + _REFUSE
    + "{%- endfor -%}{{- ns.system -}}"
    "{%- if add_generation_prompt -%}{{- '\\n\\n### Response:' -}}{%- endif -%}",
    ("### Instruction:", "### Input:", "### Response:", "</s>"),
    "alpaca",
)

# docs.mistral.ai on tokenizer v1, that of the 7B Instruct 0.1 and Mixtral 0.1 files. The space
# that the documentation shows after <s> and </s> is put there by the tokenizer.
_MISTRAL: Final = ChatTemplate(
    "{{- bos_token -}}"
    + _FOLD
    + _FOLDED
    + "{{- '[INST] ' ~ ns.system ~ m['content'] ~ ' [/INST]' -}}{%- set ns.system = '' -%}"
    "{%- elif m['role'] == 'assistant' -%}{{- ' ' ~ m['content'] ~ eos_token -}}"
    + _REFUSE
    + "{%- endfor -%}"
    "{%- if ns.system -%}{{- '[INST] ' ~ ns.system | trim ~ ' [/INST]' -}}{%- endif -%}",
    ("[INST]", "</s>"),
    "mistral",
)

# ai.google.dev/gemma/docs/formatting: two roles; a system prompt goes into the first user turn.
_GEMMA: Final = ChatTemplate(
    "{{- bos_token -}}"
    + _FOLD
    + _FOLDED
    + "{{- '<start_of_turn>user\\n' ~ ns.system ~ m['content'] | trim ~ '<end_of_turn>\\n' -}}"
    "{%- set ns.system = '' -%}"
    "{%- elif m['role'] == 'assistant' -%}"
    "{{- '<start_of_turn>model\\n' ~ m['content'] | trim ~ '<end_of_turn>\\n' -}}"
    + _REFUSE
    + "{%- endfor -%}"
    "{%- if ns.system -%}"
    "{{- '<start_of_turn>user\\n' ~ ns.system | trim ~ '<end_of_turn>\\n' -}}"
    "{%- endif -%}"
    "{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}",
    ("<end_of_turn>", "<start_of_turn>"),
    "gemma",
)

_ROLES: Final = "{%- for m in messages -%}{%- if m['role'] in ['system', 'user', 'assistant'] -%}"

# The model cards of HuggingFaceH4/zephyr-7b-beta and TinyLlama/TinyLlama-1.1B-Chat-v1.0.
_ZEPHYR: Final = ChatTemplate(
    _ROLES
    + "{{- '<|' ~ m['role'] ~ '|>\\n' ~ m['content'] ~ eos_token ~ '\\n' -}}"
    + _REFUSE
    + "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}",
    ("</s>", "<|user|>", "<|system|>", "<|assistant|>"),
    "zephyr",
)

# Meta's "Model Cards and Prompt formats" for Llama 3.
_LLAMA_3: Final = ChatTemplate(
    "{{- bos_token -}}"
    + _ROLES
    + "{{- '<|start_header_id|>' ~ m['role'] ~ '<|end_header_id|>\\n\\n' -}}"
    "{{- m['content'] | trim ~ '<|eot_id|>' -}}" + _REFUSE + "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}"
    "{%- endif -%}",
    ("<|eot_id|>", "<|end_of_text|>", "<|start_header_id|>"),
    "llama-3",
)

# openai/openai-python's chatml.md, as OpenHermes, Qwen, Dolphin and many others use it.
_CHATML: Final = ChatTemplate(
    _ROLES
    + "{{- '<|im_start|>' ~ m['role'] ~ '\\n' ~ m['content'] ~ '<|im_end|>\\n' -}}"
    + _REFUSE
    + "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}",
    ("<|im_end|>", "<|im_start|>"),
    "chatml",
)

NAMED: Final[Mapping[str, ChatTemplate]] = MappingProxyType(
    {
        "alpaca": _ALPACA,
        "chatml": _CHATML,
        "gemma": _GEMMA,
        "llama-3": _LLAMA_3,
        "mistral": _MISTRAL,
        "phi-2": _PHI_2,
        "zephyr": _ZEPHYR,
    }
)
"""The templates that can be asked for by name."""

_PHI_2_ITSELF: Final = re.compile(r"(microsoft[ _/-]*)?phi[ _-]?2")
_INSTRUCTED: Final = re.compile(r"(?<![a-z])(it|instruct|chat)(?![a-z])")


def named(name: str) -> ChatTemplate:
    """The template of that name.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return NAMED[name.lower()]
    except KeyError:
        raise ConfigurationError(
            f"chat_template={name!r} is neither a template's name nor Jinja.",
            hint=f"The names are {', '.join(NAMED)}.",
        ) from None


def resolve(
    metadata: Callable[[str], str | None],
    fallback: str | None = None,
    override: str | None = None,
) -> ChatTemplate | None:
    """The template for a model.

    In this order: what was set for this very model, the file's own, what was set for files
    without one, what the file's name or architecture leaves no doubt about.

    Args:
        metadata: gives the file's metadata by key, ``None`` for what it has not.
        fallback: a name of :data:`NAMED` or Jinja, for a file without a template.
        override: likewise, in place of the file's own.

    Returns:
        ``None`` where there is no template at all.

    Raises:
        ConfigurationError: a name that is unknown.
    """
    if override is not None:
        return _given(override)
    own = metadata(TEMPLATE_KEY)
    if own:
        return _with_known_stops(own)
    if fallback is not None:
        return _given(fallback)
    return guess(metadata)


def guess(metadata: Callable[[str], str | None]) -> ChatTemplate | None:
    """The named template that fits the file's name and architecture beyond doubt, if one does.

    A fine-tune often has its own format under its parent's architecture, so only the makers' own
    models are recognised by architecture, and others by what their name says of their format.
    """
    architecture = (metadata("general.architecture") or "").lower()
    said = metadata("general.name") or ""
    name = said.lower()
    chosen = None
    if "alpaca" in name:
        chosen = _ALPACA
    elif "chatml" in name:
        chosen = _CHATML
    elif architecture == "phi2" and (not name or _PHI_2_ITSELF.fullmatch(name)):
        chosen = _PHI_2
    elif architecture in ("gemma", "gemma2", "gemma3") and (
        not name or ("gemma" in name and _INSTRUCTED.search(name))
    ):
        chosen = _GEMMA
    elif "zephyr" in name or ("tinyllama" in name and _INSTRUCTED.search(name)):
        chosen = _ZEPHYR
    elif re.search(r"llama[ _-]?3", name) and _INSTRUCTED.search(name):
        chosen = _LLAMA_3
    elif re.search(r"mi(s|x)tral", name) and "instruct" in name:
        chosen = _MISTRAL
    if chosen is None:
        return None
    by = f"general.name = {said!r}" if said else f"general.architecture = {architecture!r}"
    return ChatTemplate(chosen.source, chosen.stops, chosen.name, guessed_from=by)


def _given(text: str) -> ChatTemplate:
    return _with_known_stops(text) if "{" in text else named(text)


_TURN_ENDS: Final = ("<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|end|>")


def _with_known_stops(source: str) -> ChatTemplate:
    """Markers that end a turn wherever they are written end an answer too.

    A file may hold them as plain text or as tokens that it does not call end tokens.
    """
    return ChatTemplate(source, tuple(mark for mark in _TURN_ENDS if mark in source))
