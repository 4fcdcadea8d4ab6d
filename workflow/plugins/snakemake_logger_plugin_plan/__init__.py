"""Snakemake logger `plan`: each job of a dry run as a line of JSON on standard output.

`artneuro plan` puts this folder's parent on PYTHONPATH; no other run sees it. Snakemake's own text
leaves out threads and resources where a rule has a message.
"""

import json
import sys

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    """Writes jobs to standard output and errors to standard error."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record):
        """Write one record."""
        if getattr(record, "event", None) == LogEvent.JOB_INFO:
            resources = dict(record.resources.items())
            numbers = {k: v for k, v in resources.items() if isinstance(v, (int, float))}
            job = {
                "rule": record.rule_name,
                "wildcards": dict(record.wildcards),
                "output": [str(path) for path in record.output],
                "threads": record.threads,
                "resources": {k: v for k, v in numbers.items() if not k.startswith("_")},
            }
            print(json.dumps(job), flush=True)
        elif record.levelname in ("ERROR", "CRITICAL"):
            print(record.getMessage(), file=sys.stderr, flush=True)
