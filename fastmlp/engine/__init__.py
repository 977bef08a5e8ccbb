"""Networks bound to their kernels: the one place where arrays become addresses.

Above it there are models, below it only memory.
"""
