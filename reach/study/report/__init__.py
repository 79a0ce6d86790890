"""The report of a study: a self-contained HTML page, and printed tables."""

from reach.study.report.metrics import headline_metrics
from reach.study.report.page import towards_the_miss, write_report
from reach.study.report.tables import print_table

__all__ = ["headline_metrics", "print_table", "towards_the_miss", "write_report"]
