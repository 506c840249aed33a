"""One task from its prompts to its frames."""
