"""Declares the source database from files, idempotently."""
