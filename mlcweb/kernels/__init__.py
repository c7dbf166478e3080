"""TIR kernels, and the operations of ``relax.frontend.nn`` models that call them.

A kernel is written for one shape and tier; ``ops`` chooses between decode's and prefill's kernels.
"""
