"""The declarations of the commands: arguments, options and help. They import nothing but click."""
