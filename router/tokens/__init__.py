"""How many tokens a prompt has, counted in the web half by a process of its own."""

from router.tokens.counter import TokenCounter
from router.tokens.cut import CutPrompt, merged

__all__ = ["CutPrompt", "TokenCounter", "merged"]
