"""What each section of the card run checks and measures."""
