"""What every long-running process of ours shares: logs, a clean stop, its port, its scheduling, and its health and metrics endpoint."""
