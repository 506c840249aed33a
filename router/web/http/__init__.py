"""Bodies, queries, fields and headers of requests."""
