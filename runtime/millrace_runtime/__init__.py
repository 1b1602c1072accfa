"""What every long-running process of ours shares: logs, a clean stop, its port, its scheduling, its health and metrics endpoint."""
