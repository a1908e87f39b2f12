"""What a curve says of its training: each rule takes records, and gives evidence, advice and what to type."""
