"""Hosted models through litellm; only this folder imports it, on first use."""

from modelrouter.backends.hosted.backend import LiteLLMBackend

__all__ = ["LiteLLMBackend"]
