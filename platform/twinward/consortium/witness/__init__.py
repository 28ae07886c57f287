"""The witness that a hospital runs for its neighbours: its folder on disk, its health, split views it found."""
