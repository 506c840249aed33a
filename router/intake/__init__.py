"""A request becomes a job: the gate, effective values, idempotency, the queue."""
