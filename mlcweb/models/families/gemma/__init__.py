"""Google's Gemma models: each is the one before, with changes."""
