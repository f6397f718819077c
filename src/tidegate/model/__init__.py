"""The model file, and the network that it describes: all of it read and checked without torch."""
