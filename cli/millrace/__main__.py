"""``python -m millrace``."""

from millrace.main import main

main()
