"""How figures are measured: servers, callers, tables."""
