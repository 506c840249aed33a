"""Shared by the tests: servers, callers, files, models, a hub."""
