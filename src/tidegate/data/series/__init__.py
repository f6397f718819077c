"""Series of numbers at times: from tables and data frames, cut into windows."""
