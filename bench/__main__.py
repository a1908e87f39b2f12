"""What `python -m bench` runs: the door."""

from bench.cli import main

if __name__ == "__main__":
    main()
