"""Liquid's LFM models: gated short convolutions between attention layers."""
