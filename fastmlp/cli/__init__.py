"""The command line, ``fastmlp`` and ``python -m fastmlp``.

process.py is the process; the commands are in core.py, and those that need the extra ``cli`` in commands.py.
"""
