"""The compiler and the engine agree on a contract: the documents of a bundle, their limits, and the names in them.

``source`` is written by hand; ``generate`` makes the rest of it, also for TypeScript and the docs.
"""
