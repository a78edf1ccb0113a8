"""Find the times of words in audio whose provider does not tell them.

tokens.py     the words of a text, each with its range
features.py   what is compared: the spectral shape of the sound, 50 times a second
warping.py    dynamic time warping of two such sequences
reference.py  the same text spoken by espeak-ng, which tells its words
estimate.py   where espeak-ng lacks the language: shared out between the silences
aligner.py    one of the two, for one segment

Needs the extra ``words``: numpy and espeak-ng. Without it all times are estimated.
"""
