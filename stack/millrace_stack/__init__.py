"""Local servers as real processes, the demo, the load generator and the truth check."""
