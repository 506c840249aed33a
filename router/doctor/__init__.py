"""The checks of `framegate doctor`, one module per topic."""
