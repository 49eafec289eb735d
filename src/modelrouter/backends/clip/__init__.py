"""CLIP on this machine, through onnxruntime."""

from modelrouter.backends.clip.backend import ClipBackend

__all__ = ["ClipBackend"]
