"""What work costs: estimates, usage and budgets, as values and pure functions."""
