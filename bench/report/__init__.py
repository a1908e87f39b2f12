"""The report: what a finished sweep says, read from stored results alone, so it can be rebuilt anywhere."""
