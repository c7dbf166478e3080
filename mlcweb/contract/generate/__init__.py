"""Writes what both readers of a bundle share, from ``mlcweb/contract/source`` (see ``__main__``)."""
