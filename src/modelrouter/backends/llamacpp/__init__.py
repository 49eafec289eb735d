"""Runs GGUF models in this process through llama.cpp."""

from modelrouter.backends.llamacpp.backend import LlamaCppBackend
from modelrouter.backends.llamacpp.settings import LlamaCppSettings

__all__ = ["LlamaCppBackend", "LlamaCppSettings"]
