"""The performance report: tables and pictures from the results' JSON, nothing typed by hand."""
