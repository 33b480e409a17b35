"""One self-contained page about a table of scores, for a person who decides what to label."""

from vl4pose.report.page import ReportSummary, write_report

__all__ = ["ReportSummary", "write_report"]
