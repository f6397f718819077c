"""A reader's own cell compiled for this processor, kept on disk and given to the engine."""
