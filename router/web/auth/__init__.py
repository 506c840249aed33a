"""Authentication of requests, and rate limits."""
