"""A model on the Hugging Face hub: its name, its files in the cache, and what to say when the hub does not answer."""
