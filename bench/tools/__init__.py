"""Tools to measure figures: servers, callers, tables."""
