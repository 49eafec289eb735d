"""Small tools of every part: SQLite files, TOML, how much memory is free."""
