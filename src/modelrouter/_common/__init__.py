"""Small tools of every part: files, foreign data, memory, processes."""
