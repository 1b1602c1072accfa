"""The operators' HTTP endpoint: the operations of ``millrace connect`` for the operators' page."""
