"""The gunicorn worker: one thread receives requests, a pool of threads answers them."""
