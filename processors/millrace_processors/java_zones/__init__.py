"""Java's time zones by the pinned table: Spark's own functions then agree with Python's (contracts/values/zones.py)."""
