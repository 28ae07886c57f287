"""``twinward exchange``: steps in a hospital's name, and what stands, is suggested or would be worth it."""
