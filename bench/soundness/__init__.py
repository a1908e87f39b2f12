"""Whether data can be trained on: looked at before the first step, and thoroughly by do=check."""
