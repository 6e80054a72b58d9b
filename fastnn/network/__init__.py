"""What a network is: its description, its parameters, the operations it comes down to."""
