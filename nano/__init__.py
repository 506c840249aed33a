"""The embedded default: a Wan family small enough for the repository and a CPU."""

VERSION = "random-1"  # changes with the weights, so that a folder made of other ones is never taken for these
