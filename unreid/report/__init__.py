"""What a run found, on one page: a self-contained HTML file that opens from disk, without network."""

from unreid.report.facts import Facts, Samples, Setting, TestSide
from unreid.report.page import write_report

__all__ = ["Facts", "Samples", "Setting", "TestSide", "write_report"]
