"""What the compiler and the engine agree on: a bundle's documents, their limits, and the names of what is in them.

``source`` is written by hand; ``generate`` makes the rest of it, also for TypeScript and the docs.
"""
