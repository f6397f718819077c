"""What a text is answered with, each kind in one object: a label, several labels, a number."""
