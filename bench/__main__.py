"""What `python -m bench` runs: the door, or the one for many processes where torchrun started this one."""

import os

if __name__ == "__main__":
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from bench.ranks import main
    else:
        from bench.cli import main
    main()
