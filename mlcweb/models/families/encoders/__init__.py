"""Models of whole texts, whose tokens see those after them."""
