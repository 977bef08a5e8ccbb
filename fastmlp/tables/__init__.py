"""Tables: read files and frames with named columns, find what the columns mean to a network, and train one on them.

`fit` does all of it in one call, and returns a `TableModel`.
"""

# reading.py reads, schema.py has the columns' meaning, fitting.py and model.py train and predict.

from .fitting import fit
from .model import TableModel, load
from .reading import Reading, read, table_of, write, write_csv
from .schema import Column, ColumnReport, RefusedColumns, Schema, split
from .values import MISSING, Values

__all__ = [
    "MISSING", "Column", "ColumnReport", "Reading", "RefusedColumns", "Schema", "TableModel", "Values", "fit", "load",
    "read", "split", "table_of", "write", "write_csv",
]  # fmt: skip
