"""Publishes bundles to object stores, folders and the Hugging Face hub, and keeps their catalog."""
