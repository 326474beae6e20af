"""The log as JSON: one object per line, for programs that collect logs."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from lookonce.log import get_logger


class JsonFormatter(logging.Formatter):
    """time (UTC, ISO 8601), level, message, and the `fields` that a record carries."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"time": time, "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry | getattr(record, "fields", {}))


@contextmanager
def json_log() -> Iterator[None]:
    """Inside the block, each record of the log is a line of JSON on stderr, in place of other handlers."""
    logger, handler = get_logger(), logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    before, logger.handlers = logger.handlers, [handler]
    try:
        yield
    finally:
        logger.handlers = before
