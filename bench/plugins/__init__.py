"""Backends and listeners for the benchmarks alone."""
