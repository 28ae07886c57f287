"""Hospitals lend each other what runs short: offers, requests, promises, transfers, on a contract they share."""
