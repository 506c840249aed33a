"""The embedded default: a Wan family small enough for the repository and a CPU."""

VERSION = "4"  # changes with the weights, so that a folder linked to other ones is never taken for these
