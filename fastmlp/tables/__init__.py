"""Tables: files with named columns (reading.py), the meaning of the columns to a network (schema.py), and training on
them (fitting.py)."""

from .reading import MISSING, Values, read, write, write_csv
from .schema import Column, Schema, split

__all__ = ["MISSING", "Column", "Schema", "Values", "read", "split", "write", "write_csv"]
