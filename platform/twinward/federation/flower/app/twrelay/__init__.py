"""What Flower asks of an app: a ServerApp that carries messages, and a ClientApp that is never started."""
