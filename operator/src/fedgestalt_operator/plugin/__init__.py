"""`kubectl fedgestalt`: watch a round, ask why it waits, wait for its end, replay its decisions."""
