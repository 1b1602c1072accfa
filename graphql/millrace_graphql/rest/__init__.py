"""REST, OpenAPI and CSV from the same metric definitions as GraphQL."""
