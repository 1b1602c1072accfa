"""GraphiQL, served from our own files under a strict content security policy."""
