"""Helpers that know no network: files, the cache folder, checks, optional libraries, sparse rows, names, the version.

Everything above may import it; it imports nothing of fastmlp.
"""
