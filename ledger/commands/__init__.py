"""What the command line does, a module a command. `ledger.cli` lists them; each is imported when it runs."""
