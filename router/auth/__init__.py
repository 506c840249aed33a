"""API keys as values, and signed URLs."""
