"""The way of a request to its job: gate, effective values, images, queue."""
