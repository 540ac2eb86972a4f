"""Photos on disk: which there are, what they show, which are broken or alike, how they are split.

    layouts -> scan -> split          check: the three together, and what they say about a folder

Nothing in a data folder is ever changed, and torch is not loaded.
"""
