"""Grammars: what a request asks of an answer's form, in llguidance's notation."""
