"""Replay: send changes of the past again, from a token, a time or a bookmark, for some documents or all (I5: results do not change)."""
