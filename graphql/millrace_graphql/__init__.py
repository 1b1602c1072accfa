"""The data access tier: GraphQL and REST over the reports."""
