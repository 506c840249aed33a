"""Requests that wait for their jobs."""
