"""The report of a study: a self-contained HTML page, and printed tables."""

from reach.study.report.metrics import headline_metrics, print_table
from reach.study.report.page import towards_the_miss, write_report

__all__ = ["headline_metrics", "print_table", "towards_the_miss", "write_report"]
