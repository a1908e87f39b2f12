"""How a setting is found: what is varied, who tries what, and which one wins."""
