"""bench: which optimizer should I use for my model, how sure are we, and what does it cost?"""
