"""Every command that listens."""

SERVING = (
    ("collection", "run", "--port", "0"),
    ("api", "--port", "0"),
    ("query", "serve", "--port", "0"),
    ("connect", "serve", "--port", "0"),
    ("connect", "watch", "--ops-port", "1"),
    ("relay", "run", "--ops-port", "1"),
    ("process", "stream", "--ops-port", "1"),
    ("process", "rollup", "--every", "60"),
    ("process", "customers", "--every", "60"),
    ("process", "maintain", "--every", "60"),
    ("process", "audit", "--every", "60"),
)
