"""The ``millrace`` command: loads each tier's own cli.py lazily."""
