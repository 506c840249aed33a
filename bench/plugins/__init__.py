"""Backends and listeners that exist for the benches alone."""
