"""The embedded default: a Wan family small enough for the repository and a CPU."""
