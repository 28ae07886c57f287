"""Where the vault keeps what is sealed: its tables, their migrations, and one record store a backend."""
