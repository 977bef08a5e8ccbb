"""Helpers that know no network: files, cache folder, checks, optional libraries, sparse rows, names, a lock, version.

Everything above may import it; it imports nothing of fastmlp.
"""
