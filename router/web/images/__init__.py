"""`/v1/images`."""
