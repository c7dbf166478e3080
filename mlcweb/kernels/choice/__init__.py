"""Tiers, and the kernel that a tier takes for each operation."""
