"""`lookonce serve`: detection over HTTP."""
