"""What pip installs: built, put into an empty environment, and run away from the checkout."""
