"""TIR kernels, and the operations of ``relax.frontend.nn`` models that call them.

A kernel is written for one shape and one tier. The rooms, from what a kernel is written in to what a model calls:
``language`` and ``layouts``; the families ``products``, ``norms``, ``attention``, ``experts``, ``vocabulary``, and
``software`` for adapters that are a CPU; ``choice`` of one of them for a tier; ``ops``.
"""
