"""Reading reports over a range of time: the one path that GraphQL and REST share."""
