"""What can go wrong in the analysis tier, each with what a person needs to act."""

from __future__ import annotations


class ProcessorsError(Exception):
    """Base of the tier's errors; the message is one line for a person."""


class LakeError(ProcessorsError):
    """The lake is not there or not as declared."""


class ReportStoreError(ProcessorsError):
    """Cassandra did not take reports within the retries; the batch runs again."""


class CommandError(ProcessorsError):
    """A job can not do what was asked."""


class UnavailableError(ProcessorsError):
    """A server does not answer."""
