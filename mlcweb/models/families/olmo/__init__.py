"""Ai2's OLMo models: each is the one before, with changes."""
