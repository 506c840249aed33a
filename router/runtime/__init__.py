"""A process and its machine: clocks, locks, files, heartbeats, logs."""
