"""Models in GPT-2's line, with LayerNorms or biases, and OpenAI's and Microsoft's later ones."""
