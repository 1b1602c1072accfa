"""Debezium's snapshots, which no ``cursor.pipeline`` touches: what they may read, and what they leave out (I4)."""
