"""Exit statuses of children, for their supervisor."""

CANNOT_START = 4  # settings, plugins, models or the device are wrong: another start would fail too
TRY_AGAIN = 75  # the reason is temporary, such as a locked store
