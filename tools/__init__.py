"""Commands that work in a checkout, installed or not."""
