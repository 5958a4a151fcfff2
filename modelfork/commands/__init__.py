"""What the commands of `modelfork.cli` do, a module a command."""
