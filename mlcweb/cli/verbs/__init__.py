"""Each verb is a module, which imports what it needs inside its function, so that help is instant."""
