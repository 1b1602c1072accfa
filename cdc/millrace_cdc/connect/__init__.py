"""The Kafka Connect administrator: what connect-config/ declares, compared with and applied to a Connect cluster."""
