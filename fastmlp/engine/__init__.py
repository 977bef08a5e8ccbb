"""Networks bound to their kernels: the only place where arrays become addresses.

Above it are models, below it only memory.
"""
