"""What the tests share: servers, callers, files, models, a hub."""
