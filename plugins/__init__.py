"""The packaged backends; each module is a plugin."""
