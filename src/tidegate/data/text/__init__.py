"""Texts: words, encoders to tokens, word vectors, counted evidence."""
