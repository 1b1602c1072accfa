"""What every long-running process of ours shares: logs, a clean stop, its port, and its health and metrics endpoint."""
