"""The keys of the WSGI environment under which the worker and the application know each other."""

ENDS = "framegate.ends"  # a list of what to call when the request is over, however it ends
RELEASE = "framegate.release"  # to be called when the body, and what was made of it, is gone
