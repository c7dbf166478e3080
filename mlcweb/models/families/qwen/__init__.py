"""Alibaba's Qwen models: each is the one before, with changes."""
