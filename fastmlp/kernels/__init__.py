"""The compiled arithmetic: arrays, addresses and integers, nothing of models or specs.

Reading order: layout.py (where everything lies in memory), linear.py (matrix products), passes.py (what is done to a
block of rows), then what Python calls: outputs.py, samples.py (exact per-sample SGD) and batches.py (gradients and all
other steps), many_epochs.py (several calls of those in one); elementwise.py (activations, losses, optimisers' rules,
the reading of user data). catalog.py lists them all.
"""
