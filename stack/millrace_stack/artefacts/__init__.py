"""The servers' programs: pinned here, resolved into a cache outside git, verified by checksum."""
