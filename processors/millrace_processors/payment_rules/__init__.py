"""The rules of ``millrace_contracts.payment_rules`` as conditions of Spark on change events."""
