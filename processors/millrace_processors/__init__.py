"""The analysis tier: change events to facts, facts to reports."""
