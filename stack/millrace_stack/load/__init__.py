"""`millrace load`: a seeded stream of payments against the collection API."""
