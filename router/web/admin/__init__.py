"""The API of administrators: engines, the queue, failures, keys, revisions."""
