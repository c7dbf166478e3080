"""mlcweb: compiles a language model to a bundle of static files that a thin JavaScript engine runs on WebGPU."""

__version__ = "0.1.0"
