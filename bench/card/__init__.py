"""The benchmark run on a GPU: `python -m bench card`."""
