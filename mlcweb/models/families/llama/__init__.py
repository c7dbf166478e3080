"""Llama, and models that differ from it in a norm, a bias, a factor or what sees."""
