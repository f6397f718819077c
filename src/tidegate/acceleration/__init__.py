"""Models of torch and of Keras on the engine, in place."""
