"""Texts that come in and go out: the caller's SQL as lexemes, and the values of a result in their one text form."""
