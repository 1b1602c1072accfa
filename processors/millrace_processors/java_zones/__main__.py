"""Write the pinned table of zones in Java's format: ``python -m millrace_processors.java_zones JAVA_HOME/lib/tzdb.dat``.

For images and for the nodes of a cluster, whose executors start a Java that no driver chooses.
"""

import sys
from pathlib import Path

from millrace_processors.java_zones import tzdb

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("name the file to write: python -m millrace_processors.java_zones JAVA_HOME/lib/tzdb.dat")
    Path(sys.argv[1]).write_bytes(tzdb.table())
