"""`/v1/usage`: what owners and keys have used, by day and model."""
