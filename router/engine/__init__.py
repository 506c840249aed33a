"""The engine: claim a job, load its model, generate, encode, finish. Never imports Flask."""
