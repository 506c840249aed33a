"""Used work and budgets, over HTTP."""
