"""Defines the tiers, and chooses a kernel for each operation on a tier."""
