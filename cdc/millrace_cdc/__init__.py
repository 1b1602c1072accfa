"""The change-stream relay, replay, and the Kafka Connect administrator."""
