"""The options of the commands, a file for each: their types, help and panels."""
