"""The API document; `build` is imported lazily, as that takes 0.1 s."""
