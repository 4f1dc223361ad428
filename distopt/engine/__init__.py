"""One run: set-up, loop, records, outcome."""
