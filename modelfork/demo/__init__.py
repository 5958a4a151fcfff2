"""The demo base: a small language the whole product can be measured in, and the model that speaks it.

Nothing outside ``modelfork/demo`` and ``bench`` imports this package: the product knows no grammar.
"""
