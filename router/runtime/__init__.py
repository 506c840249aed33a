"""What a process needs of its machine: clocks, locks, files, signals of life."""
