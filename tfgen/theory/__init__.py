"""Claims about adversarial training that have a closed form, as runnable checks.

One module a claim; `claims` runs them all and `figures` draws them. The losses are
those the models train with, so a wrong sign in the library fails here.
"""
