"""A ClientApp that does nothing: hospitals' runners answer without one."""

from flwr.clientapp import ClientApp

app = ClientApp()
