"""The tables of a study and their bytes: columns with their types, Parquet, and the summary as JSON and CSV."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SIGNIFICANT_DIGITS = 6  # of a number in summary.json and summary.csv
# Whose rows they are; in the store's folders these are in the path, not in the file.
WHOSE: dict[str, str] = {"learner": "str", "protocol": "str", "seed": "int64"}

# Columns that every trial has, with their types.
COLUMNS: dict[str, str] = {
    **WHOSE,
    "trial": "int64",
    "block": "str",
    "trial_in_block": "int64",
    "probe": "bool",
    "cup_x": "float64",
    "cup_y": "float64",
    "launch_error_deg": "float64",
    "endpoint_error_cm": "float64",
    "time_to_success_s": "float64",
    "success": "bool",
    "attempts": "int64",
    "tipped": "bool",
    "reward": "float64",
    "duration_s": "float64",
}
TRACE_COLUMNS: dict[str, str] = {
    **WHOSE,
    "block": "str",
    "time_s": "float64",
    "remaining": "float64",
    "trials": "int64",
}
COST_COLUMNS: dict[str, str] = {**WHOSE, "metric": "str", "value": "float64"}
# Part of the store -> its columns. A trial may have further ones.
PARTS: dict[str, dict[str, str]] = {"trials": COLUMNS, "traces": TRACE_COLUMNS, "costs": COST_COLUMNS}


def rows_frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a table with `columns`, in that order, then any further ones by name.

    Raises:
        ValueError: a column is missing.
    """
    frame = pd.DataFrame(list(rows), columns=None if rows else list(columns))
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"rows lack the columns {missing}; a row has {list(columns)}")
    further = sorted(set(map(str, frame.columns)) - set(columns))
    for column in further:
        if frame[column].isna().all():
            frame[column] = frame[column].astype("float64")  # nothing known of any trial is still a number
    return frame[[*columns, *further]].astype(columns)


def trials_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Trial rows as a table with the columns of COLUMNS, in that order, then any further ones by name."""
    return rows_frame(rows, COLUMNS)


def parquet_bytes(frame: pd.DataFrame, notes: Mapping[str, str] | None = None) -> bytes:
    """A table as the bytes of a Parquet file; `notes` go into the file's own metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if notes:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **notes})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def plain_number(value: Any) -> Any:
    """A number with few enough digits to be the same on every rerun; None for inf ("never") and NaN."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def summary_rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """A summary's rows in the order given, with plain numbers."""
    columns = [str(column) for column in summary.columns]
    values = (summary[column].tolist() for column in columns)
    return [
        {key: plain_number(value) for key, value in zip(columns, row, strict=True)} for row in zip(*values, strict=True)
    ]


def summary_bytes(summary: pd.DataFrame) -> bytes:
    """summary.json: one row a line, in the order given, strict JSON."""
    lines = [json.dumps(row, allow_nan=False) for row in summary_rows(summary)]
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def summary_csv_bytes(summary: pd.DataFrame) -> bytes:
    """summary.csv: the same numbers as in summary.json; an empty field where that says null."""
    text = io.StringIO(newline="")
    frame = pd.DataFrame(summary_rows(summary), columns=[str(column) for column in summary.columns], dtype=object)
    frame.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue().encode()
