"""Measures how well a bundle predicts a text, alone and against the model it was made from."""
