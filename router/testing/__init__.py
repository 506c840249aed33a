"""Checks of a backend, for plugin authors."""
