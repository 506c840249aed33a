"""The backends that come with the package; each file is a plugin."""
