"""Fetches GGUF files from the Hugging Face hub into the models folder."""

from modelrouter.hub.choice import Offer
from modelrouter.hub.pulling import Plan, plan, pull
from modelrouter.hub.sources import Source, pullable, source

__all__ = ["Offer", "Plan", "Source", "plan", "pull", "pullable", "source"]
