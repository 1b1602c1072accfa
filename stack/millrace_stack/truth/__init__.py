"""`millrace truth`: what MongoDB itself says against what the API answers."""
