"""MQTT 5: readings from any broker, acknowledged to it once they are durable here."""
