"""Exit statuses by which a child tells its supervisor whether to start it again."""

CANNOT_START = 4  # settings, plugins, models or the device are wrong: another start would end alike
TRY_AGAIN = 75  # the reason passes, such as a locked store
