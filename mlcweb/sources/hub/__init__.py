"""Opens a model on the Hugging Face hub: reads its name, fetches its files, says why the hub does not answer."""
