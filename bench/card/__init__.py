"""What `bench/gpu.py` is made of: shapes, random models, the clock of a card, and one module for each table."""
