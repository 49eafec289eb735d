"""Puts the network guard into every Python that a test starts; conftest.py adds this folder to
PYTHONPATH."""

from network_guard import install

install()
