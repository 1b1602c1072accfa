"""`millrace demo`: the whole pipeline on this machine, fed with a real year of retail baskets."""
