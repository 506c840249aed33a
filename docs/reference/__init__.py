"""The tables of the documentation, generated from the code; `python -m docs.reference` writes them."""
