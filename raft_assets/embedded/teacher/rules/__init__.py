"""The question rules, by what they ask for, and their table."""
