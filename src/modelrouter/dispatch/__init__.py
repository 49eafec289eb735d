"""Dispatch: from a decision to a reply; retries, fallback, hedging, streams, the cache."""
