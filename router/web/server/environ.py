"""Keys of the WSGI environment that connect the worker and the application."""

ENDS = "framegate.ends"  # an `ExitStack` that closes when the request is over, however it ends
RELEASE = "framegate.release"  # a function to call when the body, and all that was made of it, is freed
