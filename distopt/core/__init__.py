"""What everything rests on: errors, parameters, names, random words, units, files."""
