"""File formats of a study's results: tables with typed columns as sealed Parquet, the summary as JSON and CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reach.files import UNSEALED, DamagedError, check_seal, seal

SEALED = b"reach.seal"  # entry of a Parquet file's metadata that contains its seal
SIGNIFICANT_DIGITS = 6  # of a number in summary.json and summary.csv
# Columns that identify the run of a row; in the store's folders they are in the path, not in the file.
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
# Columns of each part of the store. Trials may have further columns.
PARTS: dict[str, dict[str, str]] = {
    "trials": COLUMNS,
    "traces": {**WHOSE, "block": "str", "time_s": "float64", "remaining": "float64", "trials": "int64"},
    "costs": {**WHOSE, "metric": "str", "value": "float64"},
}


def rows_frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return rows as a table with `columns` in that order, then any further columns sorted by name.

    Raises:
        ValueError: a column is missing.
    """
    frame = pd.DataFrame(list(rows), columns=None if rows else list(columns))
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"rows: expected the columns {list(columns)}, got rows without {missing}")
    further = sorted(set(map(str, frame.columns)) - set(columns))
    for column in further:
        if frame[column].isna().all():
            frame[column] = frame[column].astype("float64")  # None in all rows becomes a column of NaN
    return frame[[*columns, *further]].astype(columns)


def trials_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return trial rows as a table with `COLUMNS` in that order, then any further columns sorted by name."""
    return rows_frame(rows, COLUMNS)


def one_table(part: str, tables: Sequence[tuple[pa.Table, Mapping[str, Any]]]) -> pd.DataFrame:
    """Concatenate tables of one part (a key of PARTS) in the given order, each with its values of WHOSE."""
    if not tables:
        return rows_frame([], PARTS[part])
    whole = pa.concat_tables([table for table, _ in tables], promote_options="default").replace_schema_metadata(None)
    lengths = [len(table) for table, _ in tables]
    for place, column in enumerate(WHOSE):
        repeated = np.repeat(np.array([whose[column] for _, whose in tables]), lengths)
        whole = whole.add_column(place, column, pa.array(repeated))
    frame: pd.DataFrame = whole.to_pandas().astype(PARTS[part])
    return frame


def parquet_bytes(frame: pd.DataFrame, notes: Mapping[bytes, str] | None = None) -> bytes:
    """Return a table as the bytes of a sealed Parquet file with `notes` in its metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **(notes or {}), SEALED: UNSEALED})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return seal(bytes(sink.getvalue().to_pybytes()))


def table_from(data: bytes, path: Path, *, must_be_sealed: bool = True) -> pa.Table:
    """Return the table in the bytes of a Parquet file; its metadata contains the notes.

    Args:
        data: the bytes.
        path: path of the file, for the message.
        must_be_sealed: whether a file without a seal, such as one from another program, is an error.

    Raises:
        DamagedError: the file is not as it was written.
    """
    claims_a_seal = SEALED in data or UNSEALED[: len("sha256:")].encode() in data
    if must_be_sealed or claims_a_seal:
        check_seal(data, path)
    try:
        return pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise DamagedError(f"{path} is damaged: {error}") from error


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return the result of `table_from` as a pandas table."""
    frame: pd.DataFrame = table.to_pandas()
    return frame


def plain_number(value: Any) -> Any:
    """Round a number to SIGNIFICANT_DIGITS, so that reruns give the same; return None for infinity and NaN."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def summary_rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a summary's rows in the given order, with rounded numbers."""
    rows = summary.to_dict("records")
    return [{str(column): plain_number(value) for column, value in row.items()} for row in rows]


def summary_bytes(summary: pd.DataFrame) -> bytes:
    """Return the bytes of summary.json: strict JSON with one row per line, in the given order."""
    lines = [json.dumps(row, allow_nan=False) for row in summary_rows(summary)]
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def csv_bytes(summary: pd.DataFrame) -> bytes:
    """Return a table as CSV, with numbers as in summary.json and empty fields for null."""
    frame = pd.DataFrame(summary_rows(summary), columns=[str(column) for column in summary.columns], dtype=object)
    return frame.to_csv(index=False, lineterminator="\n").encode()
