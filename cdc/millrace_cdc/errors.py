"""What can go wrong in the capture tier; each error carries what a person needs to act, and the exit code of the command."""

from __future__ import annotations

from millrace_contracts import exit_codes


class CaptureError(Exception):
    """Base of the tier's errors that end a command: one line for a person, and what the process exits with."""

    exit_code = exit_codes.FATAL


class RelayError(CaptureError):
    """Ends the relay, a replay, or a command about them."""


class Fenced(RelayError):
    """Another relay has taken over this transactional id (I3)."""

    exit_code = exit_codes.FENCED


class Unavailable(RelayError):
    """A server stayed away for longer than the retries last."""

    exit_code = exit_codes.UNAVAILABLE


class Misconfigured(RelayError):
    """A setting, a missing topic or a missing privilege; a restart alone does not mend it."""

    exit_code = exit_codes.USAGE


class HistoryLost(RelayError):
    """The oplog no longer reaches back to the saved position (MongoDB's errors 286 and 280)."""

    exit_code = exit_codes.HISTORY_LOST


class Oversize(RelayError):
    """A change is larger than 16 MB in the form that the server would send it (10334); only a person may go past it.

    ``token`` is that of the change, None where MongoDB does not say.
    """

    def __init__(self, message: str, token: str | None) -> None:
        super().__init__(message)
        self.token = token


class CollectionGone(RelayError):
    """The collection was dropped or renamed and the policy is to stop."""


class SourceLost(Exception):
    """MongoDB does not answer for now; the stream is opened again at the committed position."""


class Reopen(SourceLost):
    """Nothing is wrong: the stream is to be opened again at once, at the position that was committed."""


class TransactionAborted(Exception):
    """The transaction was given up and nothing of it is visible; the source is opened again at the committed position."""


class ProducerInDoubt(TransactionAborted):
    """The end of the last transaction may have been sent twice, and a late copy would end the next one: ``fence`` takes a new producer."""
