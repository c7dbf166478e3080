"""A file for each architecture: its config, its module, and its checkpoint's names. Rooms are lines of descent."""
