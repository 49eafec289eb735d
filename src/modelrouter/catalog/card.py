"""ModelCard: what one model is, can do, costs, and where it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from typing_extensions import Self

from modelrouter.catalog.address import here, shown
from modelrouter.config import Configured, RateLimit
from modelrouter.task import Kind

__all__ = ["Axes", "Capability", "Family", "Location", "Modality", "ModelCard", "Price", "Speed"]

Family: TypeAlias = Literal["foundation", "llm", "slm"]
Location: TypeAlias = Literal["local", "hosted"]
Modality: TypeAlias = Literal["text", "image", "audio", "embedding"]
Capability: TypeAlias = Literal["tools", "json_schema"]


class Axes(Configured):
    """The five axes by which foundation models, LLMs and SLMs are compared, in words."""

    scope: str
    training_data: str
    applications: str
    adaptability: str
    efficiency: str


class Price(Configured):
    """USD for each token.

    Attributes:
        cached_input: of a prompt token read from the provider's cache; ``input`` unless given.
        cache_write: of a prompt token written to it; ``input`` unless given.
        image: of each picture made, for models that are billed so; beside its tokens.
        long_prompt: the prices of a call whose prompt has more than ``long_prompt_tokens``, where
            the provider has such.
    """

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    cached_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cache_write: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    image: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    long_prompt_tokens: int | None = Field(default=None, gt=0)
    long_prompt: Price | None = None

    def cost_usd(
        self,
        prompt_tokens: int,
        output_tokens: int,
        cached_tokens: int = 0,
        cache_write_tokens: int = 0,
    ) -> float:
        """USD for so many tokens; the cache's, read and written, are part of ``prompt_tokens``."""
        bound = self.long_prompt_tokens
        if self.long_prompt is not None and bound is not None and prompt_tokens > bound:
            return self.long_prompt.cost_usd(
                prompt_tokens, output_tokens, cached_tokens, cache_write_tokens
            )
        cached_price = self.input if self.cached_input is None else self.cached_input
        written_price = self.input if self.cache_write is None else self.cache_write
        return (
            (prompt_tokens - cached_tokens - cache_write_tokens) * self.input
            + cached_tokens * cached_price
            + cache_write_tokens * written_price
            + output_tokens * self.output
        )


class Speed(Configured):
    """How fast the model answers, as far as known before it is asked."""

    first_token_s: float = Field(default=0.5, ge=0)
    prefill_tokens_per_s: float = Field(default=5_000.0, gt=0)
    decode_tokens_per_s: float = Field(default=60.0, gt=0)

    def latency_s(self, prompt_tokens: int, output_tokens: int) -> float:
        """Seconds from the call to the last token."""
        return (
            self.first_token_s
            + prompt_tokens / self.prefill_tokens_per_s
            + output_tokens / self.decode_tokens_per_s
        )


def _check_loopback(address: str | None) -> None:
    """A card that says local while it sends text elsewhere would break every private policy."""
    with contextlib.suppress(ValueError):  # nothing that can be read; what it says may be secret
        if here(urlsplit(address or "").hostname or ""):
            return
    raise ValueError(
        "location='local', but api_base is not an address of this machine (127.0.0.1, ::1, "
        "localhost): make it location='hosted'"
    )


def _kept_apart(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, a secret in ``api_base`` taken out of it into ``api_address``."""
    found = dict(fields)
    given, whole = found.get("api_base"), found.get("api_address")
    if isinstance(whole, SecretStr):
        whole = whole.get_secret_value()
    if not isinstance(given, str) or (isinstance(whole, str) and shown(whole) == given):
        return found
    found["api_base"] = shown(given)
    found["api_address"] = None if found["api_base"] == given else SecretStr(given)
    return found


class ModelCard(Configured):
    """One model the router may choose.

    Attributes:
        name: how it is called: ``provider/model`` as litellm writes it, or a local name.
        families: one or more of foundation, llm, slm (Mistral 7B is both llm and slm).
        location: ``local`` (this machine, nothing leaves it) or ``hosted``.
        backend: which backend runs it: ``llamacpp``, ``litellm``, or a plugin's name.
        modalities_in, modalities_out: what it reads and what it makes.
        context_window: tokens of prompt and answer together.
        max_output_tokens: the most it answers, where bounded below the window.
        price: USD a token; ``None`` means unknown (a local model is free: zeros).
        speed: latency figures, estimates until measured.
        strengths: P(quality) by kind at medium complexity, 0 to 1.
        general_strength: P(quality) for kinds that ``strengths`` does not name.
        benchmarks: published accuracies by benchmark, 0 to 1.
        strengths_source: where these figures come from; ``None`` for a guess by default.
        scope: the only kinds it may do; ``None`` for any. A hard gate.
        languages: the only languages it may read (ISO 639-1); ``None`` for any. A hard gate.
        capabilities: ``tools``, ``json_schema``.
        max_prompt_tokens: a bound below the window for what it does well; ``None`` for none.
        max_user_turns: how many user turns it can follow; ``None`` for any.
        max_system_tokens: the longest system prompt it may be given; ``None`` for any.
        axes: the comparison of families, in words.
        parameters: number of weights.
        quantization: how they are stored in ``path``, for example ``Q4_K_M``.
        licence: of the weights (local) or terms of use (hosted).
        retired: when the provider switched it off (ISO date), else ``None``.
        successor: the card to use in its place.
        path: the GGUF file of a local model.
        lora, lora_scale: a LoRA adapter's GGUF file that it runs with, and how strongly: 1.0 as it
            was trained, 0.0 not at all.
        chat_template: for a local model, in place of its file's own: Jinja, or one of alpaca,
            chatml, gemma, llama-3, mistral, phi-2, zephyr.
        api_base, api_key, api_key_env: where and with which key a hosted model is reached, or a
            server on this machine; such a server is sent no key but ``api_key_env``'s. A name,
            password or key within the address is kept in ``api_address`` and shown nowhere.
        api_address: the whole address where ``api_base`` does not show all of it; set by itself.
        follow_redirects: whether a server that points elsewhere is followed there. A local model
            is followed to addresses of this machine only.
        server_model: what an OpenAI-compatible server on this machine calls the model.
        rate_limit: requests and tokens a minute that its provider allows; ``None`` for any.
    """

    _shows_values: ClassVar[bool] = False

    name: str = Field(min_length=1)
    families: frozenset[Family] = Field(min_length=1)
    location: Location
    backend: str
    modalities_in: frozenset[Modality] = frozenset({"text"})
    modalities_out: frozenset[Modality] = frozenset({"text"})
    context_window: int = Field(gt=0)
    max_output_tokens: int | None = Field(default=None, gt=0)
    price: Price | None = None
    speed: Speed = Speed()
    strengths: dict[Kind, float] = Field(default_factory=dict)
    general_strength: float = Field(default=0.5, ge=0, le=1)
    benchmarks: dict[str, float] = Field(default_factory=dict)
    strengths_source: str | None = None
    scope: frozenset[Kind] | None = None
    languages: frozenset[str] | None = None
    capabilities: frozenset[Capability] = frozenset()
    max_prompt_tokens: int | None = Field(default=None, gt=0)
    max_user_turns: int | None = Field(default=None, gt=0)
    max_system_tokens: int | None = Field(default=None, ge=0)
    axes: Axes | None = None
    parameters: int | None = Field(default=None, gt=0)
    quantization: str | None = None
    licence: str | None = None
    retired: str | None = None
    successor: str | None = None
    path: Path | None = None
    lora: Path | None = None
    lora_scale: float = Field(default=1.0, allow_inf_nan=False)
    chat_template: str | None = None
    api_base: str | None = None
    api_address: SecretStr | None = None
    follow_redirects: bool = False
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    server_model: str | None = Field(default=None, min_length=1)
    rate_limit: RateLimit | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, fields: Any) -> Any:
        return _kept_apart(fields) if isinstance(fields, Mapping) else fields

    @model_validator(mode="after")
    def _consistent(self) -> ModelCard:
        for kind, strength in self.strengths.items():
            if not 0 <= strength <= 1:
                raise ValueError(f"strengths[{kind!r}]={strength} is not between 0 and 1")
        if self.location == "local" and self.api_key is not None:
            raise ValueError("a local model takes no api_key")
        if self.location == "local" and (self.api_base or self.backend == "litellm"):
            _check_loopback(self.address)
        if self.lora is not None and (self.path is None or self.backend != "llamacpp"):
            raise ValueError("lora is for a local model with a path: ModelCard.local(PATH, lora=)")
        if self.server_model is not None and self.location != "local":
            raise ValueError("server_model is for a server on this machine, with location='local'")
        named = self.server_model is not None or self.name.startswith("openai/")
        if self.location == "local" and self.backend == "litellm" and not named:
            raise ValueError(
                "a server on this machine needs server_model, what it calls the model: "
                "ModelCard.server(ADDRESS, model=...)"
            )
        return self

    @property
    def address(self) -> str | None:
        """Where it is reached: ``api_base`` with whatever secret belongs to it; not to be shown."""
        return self.api_base if self.api_address is None else self.api_address.get_secret_value()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; a secret in a new ``api_base`` is kept apart there too."""
        if update is not None and "api_base" in update:
            update = _kept_apart({"api_address": None, **update})
        return super().model_copy(update=update, deep=deep)

    @classmethod
    def hosted(cls, name: str, **fields: Any) -> ModelCard:
        """A card for a hosted model, filled from litellm's price file.

        ``ModelCard.hosted("openai/gpt-4o", api_base="http://127.0.0.1:8000/v1", api_key="...")``.
        Window, price and abilities come from the file; any field of the card may be given and
        wins. A model that the file does not know gets a window of 8,192 tokens and an unknown
        price unless they are given.

        Raises:
            ConfigurationError: a field is unknown or out of range.
        """
        from modelrouter.catalog.builtin import hosted_fields

        return cls(**{**hosted_fields(name), **fields, "name": name})

    @classmethod
    def local(cls, path: str | Path, **fields: Any) -> ModelCard:
        """A card for a GGUF file, filled from the file's own metadata.

        ``ModelCard.local("files/p2.gguf", name="phi-2")``: a name that the catalog knows brings
        that model's strengths. The window is at most 8,192 tokens unless ``context_window`` is
        given, since llama.cpp takes the memory for it at once.

        ``ModelCard.local("base.gguf", lora="mail.gguf", lora_scale=0.8, strengths={...})`` is that
        model with a LoRA adapter (GGUF), a model of its own beside the base. Without ``name`` it is
        called after both, and without ``strengths`` it has the base's.

        Raises:
            ModelFileError: a file is missing, truncated or no GGUF, or the adapter was made for
                another model.
            ConfigurationError: a field is unknown or out of range.
        """
        from modelrouter.catalog.builtin import local_fields

        filled = {**local_fields(Path(path), fields.get("name")), **fields}
        if filled.get("lora") is not None:
            filled["name"] = fields.get("name") or f"{filled['name']}+{Path(filled['lora']).stem}"
        card = cls(**filled)
        if card.lora is not None and card.path is not None:
            from modelrouter.catalog.lora import check_adapter

            check_adapter(card.lora, card.path)
        return card

    @classmethod
    def server(
        cls, address: str, *, model: str | None = None, probe: bool = False, **fields: Any
    ) -> ModelCard:
        """A card for a model of an OpenAI-compatible server on this machine.

        ``ModelCard.server("http://127.0.0.1:11434/v1", model="phi3")``: Ollama, llama-server,
        vLLM, LM Studio. It is a local model: free, and private policies may use it. No key is
        sent, and no proxy used. Any field of the card may be given and wins; ``name`` is
        ``model`` unless given, and a name that the catalog knows (``name="phi-2"``) brings that
        model's strengths. The window is 4,096 tokens unless ``context_window`` is given or the
        server tells it.

        With ``probe=True``, or without ``model``, the server is asked now what it has; else
        nothing is sent before the first task.

        Raises:
            ConfigurationError: a field is unknown or out of range, the address is not of this
                machine, or the server does not have the model.
            APIConnectionError: it was to be asked, and nobody answers.
            MalformedResponseError: who answers does not speak the protocol.
        """
        from modelrouter.catalog.builtin import server_fields

        name = fields.get("name")
        asked = model or "any"
        checked = cls(**{**server_fields(address, asked, name), **fields})  # before it is asked
        if model is not None and not probe:
            return checked
        from modelrouter.catalog.server import probe as ask

        told = ask(address, model)
        return cls(**{**server_fields(address, told["server_model"], name), **told, **fields})

    def strength(self, kind: Kind) -> float:
        """P(quality) on a task of that kind at medium complexity; 0.0 outside the scope."""
        if self.scope is not None and kind not in self.scope:
            return 0.0
        return self.strengths.get(kind, self.general_strength)
