"""Checks that a plugin author runs on a backend."""
