"""The command distopt, one file a command."""
