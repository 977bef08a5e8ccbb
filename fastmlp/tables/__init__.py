"""Files with named columns, read into values, and what those columns mean to a network."""

from .reading import MISSING, Values, read, write, write_csv
from .schema import Column, Schema, split

__all__ = ["MISSING", "Column", "Schema", "Values", "read", "split", "write", "write_csv"]
