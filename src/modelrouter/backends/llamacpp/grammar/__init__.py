"""Grammars: what a request asks of an answer's form, in llama.cpp's notation."""
