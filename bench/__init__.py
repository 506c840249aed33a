"""Measurements of a whole server; `python -m bench` runs them."""
