"""Values that arrive from outside as text: JSON, instants, days, time zones, currencies, identifiers. One parser of each for all tiers.

A parser takes what a caller, an old document or an option gave. It returns the value, or raises ``ValueError`` that says what
is wrong and what to write instead; the caller adds the name of the field. The shapes of whole documents are in
``millrace_contracts.documents``; ``bson_json`` is the form that they have in JSON.
"""
