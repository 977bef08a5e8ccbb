"""Tables: files and frames with named columns (reading.py), the meaning of the columns to a network (schema.py), and
training on them (fitting.py, model.py)."""

from .fitting import fit
from .model import TableModel, load
from .reading import Reading, read, table_of, write, write_csv
from .schema import Column, ColumnReport, RefusedColumns, Schema, split
from .values import MISSING, Values

__all__ = [
    "MISSING", "Column", "ColumnReport", "Reading", "RefusedColumns", "Schema", "TableModel", "Values", "fit", "load",
    "read", "split", "table_of", "write", "write_csv",
]  # fmt: skip
