"""What knows no network: files, the cache folder, checks of single values, optional libraries, sparse rows, names.

Everything above may import it; it imports nothing of fastmlp.
"""
