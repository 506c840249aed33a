"""HTTP as gunicorn's worker of ours speaks it: requests are received by one thread, and answered by many."""
