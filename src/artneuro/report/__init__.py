"""The report: static figures and one self-contained HTML page about everything that was run."""
