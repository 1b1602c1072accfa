"""What every long-running process of ours shares: logs, a clean stop, and its health and metrics endpoint."""
