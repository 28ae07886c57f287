"""Twins over HTTP, in the shape of Eclipse Ditto's things: read, listed, followed; care targets set; records."""
