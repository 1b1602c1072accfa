"""The collection tier: Starlette services that write only to MongoDB (I1)."""
