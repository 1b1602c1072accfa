"""When a payment has facts: one table of rules, and the same as an expression of MongoDB."""
