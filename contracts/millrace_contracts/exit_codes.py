"""Exit codes of every ``millrace`` command, documented in docs/commands.md."""

OK = 0
DIFFERENT = 1
"""A check found a difference or a failure."""
USAGE = 2
"""Wrong option, missing prerequisite or bad setting."""
UNAVAILABLE = 3
"""A server could not be reached within the retries."""
FENCED = 4
"""Another process has taken over this one's work."""
HISTORY_LOST = 5
"""The change stream no longer reaches back to the saved token."""
FATAL = 6
"""An error that a restart may mend; a supervisor should start the process again."""
INTERRUPTED = 130
