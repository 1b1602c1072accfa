"""``millrace query``: ad-hoc SQL of a merchant or an analyst over the lake, in a Spark service of its own."""
