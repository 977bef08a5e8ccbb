"""``fastmlp`` and ``python -m fastmlp``: the process (process.py), and its commands (core.py, commands.py)."""
