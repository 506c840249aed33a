"""The models that are served, and where their weights are."""
