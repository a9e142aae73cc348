"""Where values go: loggers, tables, the terminal."""
