"""The served models and their weights."""
