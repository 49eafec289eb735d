"""``python -m modelrouter.cli``."""

from modelrouter.cli import main

if __name__ == "__main__":
    main()
