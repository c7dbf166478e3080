"""Kernels in TIR, and the operations that call them from a model of ``relax.frontend.nn``.

A kernel is written for one shape and one tier. The rooms, from what a kernel is written in to what a model calls:
``language`` and ``layouts``; the families ``products``, ``norms``, ``attention``, ``recurrent``, ``experts``,
``texts``, ``vocabulary``, and ``software`` for adapters that are a CPU; ``choice`` of one of them for a tier; ``ops``.

Shapes are in letters, each for one axis, and tensors' names end in them: T tokens fed (a kernel's own n), S tokens
of the context, D model width, I inner width of an MLP, H query heads, J KV heads, G query heads of a KV head, P width
of a head, Q = (H + 2 J) * P, A = H * P, E experts, X experts of a token, V vocabulary, N outputs and K inputs of a
product, B texts side by side (a kernel's own b).
"""
