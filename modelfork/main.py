"""What modelfork adds to the service. Imports no torch: the fork routes import it when they are attached."""


def attach(app: object, ledger: object, settings: object) -> None:
    """Add modelfork's routes to `app`. Found through the entry points `forkledger.services`."""
