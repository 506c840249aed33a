"""Count the tokens of prompts in the web half, by a separate process."""

from router.tokens.counter import TokenCounter
from router.tokens.cut import CutPrompt, merged
